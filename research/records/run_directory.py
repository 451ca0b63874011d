"""The run directory: where it is, and whether a run may have it.

This module imports no torch, so that a directory can be checked first.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from research.settings.config import Choice, RunConfig
from research.settings.run_files import CHECKPOINTS, CONFIG, RESULT
from research.system.durable import remove, remove_leftovers
from research.system.launcher import start_time
from research.system.paths import expand_path
from research.system.plain_text import for_terminal

_LONGEST_PART = 40


def run_directory(config: RunConfig) -> Path:
    """Return the directory of a run: --output_dir, or runs/<name>; a name that nobody gave ends in the time."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    return Path("runs") / (config.name or default_name(config))


def default_name(config: RunConfig) -> str:
    """Return a name made of encoder, head, data and time."""
    parts = (Path(config.encoder).name, Choice.of(config.head, "head").name, Path(config.data.rstrip("/")).name)
    # Shortened: a system takes 255 bytes, and the name of a file may have as many itself.
    words = "-".join(for_terminal(part.split(".")[0].replace(":", "-")[:_LONGEST_PART]) for part in parts)
    return f"{words}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(start_time()))}"


def check_directory(directory: Path, config: RunConfig) -> None:
    """Refuse a directory that the run may not have; nothing is changed.

    Raises:
        ValueError: if it cannot be looked up, if it exists without --resume or --overwrite, or if it is
            no run's directory.
    """
    if expand_path(str(directory)).exists() and not directory.is_dir():
        raise ValueError(f"The run directory {directory} is a file.")
    try:
        is_empty = not directory.exists() or not os.listdir(directory)
    except OSError as error:
        raise ValueError(f"Cannot read the run directory {directory}: {error.strerror}.") from error
    if config.resume is None and not is_empty:
        if not config.overwrite:
            raise ValueError(
                f"The run directory {directory} exists. Choose another --name or --output_dir, go on with "
                "--resume auto, or replace it with --overwrite."
            )
        # A kill may have come before the settings had their name.
        if not any((directory / name).exists() for name in (CONFIG, f".{CONFIG}.writing")):
            raise ValueError(f"{directory} is not empty and no run's directory; --overwrite does not delete it.")
        _refuse_deleting_sources(directory, config)


def _refuse_deleting_sources(directory: Path, config: RunConfig) -> None:
    """Refuse to replace a directory with what the run itself reads in it, or with other runs in it.

    Raises:
        ValueError: naming the setting, or the other run.
    """
    for name, path in config.input_paths():
        if _is_inside(path, directory):
            raise ValueError(
                f"--overwrite would delete the run directory {directory} with what --{name} {path} reads. Choose "
                "another --name or --output_dir."
            )
    own = directory.resolve()
    found = (path.parent for pattern in ("*", "*/*") for path in directory.glob(f"{pattern}/{CONFIG}"))
    others = sorted(path for path in found if own in path.resolve().parents)  # not behind a link
    if others:
        raise ValueError(
            f"--overwrite would delete other runs with the run directory {directory}: "
            f"{', '.join(map(str, others[:3]))}{', ...' if len(others) > 3 else ''}. Choose another --name or "
            "--output_dir, or delete them first."
        )


def _is_inside(path: str, directory: Path) -> bool:
    """Return whether something that exists is a directory or lies in it, by its name or where links lead."""
    found = Path(path).expanduser()
    within = os.path.abspath(directory), os.path.realpath(directory)
    names = os.path.abspath(found), os.path.realpath(found)
    return os.path.lexists(found) and any(Path(name).is_relative_to(folder) for name in names for folder in within)


def make_directory(directory: Path) -> bool:
    """Make the run directory, if it is not there; return whether it was made.

    Raises:
        ValueError: if it cannot be made, or written to.
    """
    is_new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):  # which has no name
            pass
    except OSError as error:
        raise ValueError(f"Cannot write to the run directory {directory}: {error.strerror}.") from None
    return is_new


def claim_directory(directory: Path, config: RunConfig) -> None:
    """Make room in the run directory; called on the main process only.

    Raises:
        ValueError: as `check_directory`, or if the old files cannot be removed.
    """
    check_directory(directory, config)
    try:
        if config.resume is None:
            empty_directory(directory)
        else:
            remove_leftovers(directory)
            remove_leftovers(directory / CHECKPOINTS)
            remove(directory / RESULT)  # of the run that was cut
    except OSError as error:
        raise ValueError(f"Cannot replace the run directory {directory}: {error.strerror}.") from None


def empty_directory(directory: Path) -> None:
    """Delete what is in a directory, which itself may be a mount point or a link and stays."""
    # The settings last: without them a half emptied directory would be no run's.
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name == CONFIG):
        remove(entry)
