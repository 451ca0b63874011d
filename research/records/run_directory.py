"""Choose, check and prepare the directory of a run.

This module does not import torch, so that a directory can be checked before anything slow is imported.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from research.settings.config import RunConfig
from research.settings.run_files import CHECKPOINTS, CONFIG, RESULT
from research.system.durable import remove, remove_leftovers
from research.system.launcher import find_start_time
from research.system.paths import expand_path
from research.system.plain_text import for_terminal

_MAX_PART_LENGTH = 40
"""Maximum number of characters of each part of a default name: the encoder, the head and the data."""


def run_directory(config: RunConfig) -> Path:
    """Return the directory of a run: --output_dir if set, otherwise runs/<name>. A default name ends in a timestamp."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    return Path("runs") / (config.name or default_name(config))


def default_name(config: RunConfig) -> str:
    """Return a name made of the encoder, the head, the data and the start time."""
    parts = (Path(config.encoder).name, config.head_name, Path(config.data.rstrip("/")).name)
    # Shortened: file systems limit a name to 255 bytes, and the data's file name alone may be that long.
    prefix = "-".join(for_terminal(part.split(".")[0].replace(":", "-")[:_MAX_PART_LENGTH]) for part in parts)
    return f"{prefix}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(find_start_time()))}"


def check_directory(directory: Path, config: RunConfig) -> None:
    """Check that the run may use a directory, without changing anything.

    Raises:
        ValueError: if the directory is a file or cannot be read, if it is not empty and neither --resume nor
            --overwrite is set, or if --overwrite would delete something other than an earlier run.
    """
    # `expand_path` raises an error if the system cannot look up the path.
    if expand_path(str(directory)).exists() and not directory.is_dir():
        raise ValueError(f"The run directory {directory} is a file. Choose another --name or --output_dir.")
    try:
        is_empty = not directory.exists() or not os.listdir(directory)
    except OSError as error:
        raise ValueError(f"Cannot read the run directory {directory}: {error.strerror}.") from error
    if config.resume is None and not is_empty:
        if not config.overwrite:
            raise ValueError(
                f"The run directory {directory} exists. Choose another --name or --output_dir, continue the run with "
                "--resume auto, or replace it with --overwrite."
            )
        # A run that was killed early may have left only temporary files: of its settings, or of shared_files.py.
        if not (directory / CONFIG).exists() and not any(directory.glob(f".{CONFIG}*.writing")):
            raise ValueError(
                f"{directory} is not empty and does not contain a run, so --overwrite does not delete it. Choose "
                "another --name or --output_dir."
            )
        _check_overwrite(directory, config)


def _check_overwrite(directory: Path, config: RunConfig) -> None:
    """Check that a directory to be overwritten contains neither files that the run reads nor other runs.

    Raises:
        ValueError: if it does; the message names the setting that reads from the directory, or the runs in it.
    """
    for name, path in config.input_paths():
        if _is_inside(path, directory):
            raise ValueError(
                f"--overwrite would delete the run directory {directory}, and with it --{name} {path}. Choose "
                "another --name or --output_dir."
            )
    resolved = directory.resolve()
    runs = (path.parent for pattern in ("*", "*/*") for path in directory.glob(f"{pattern}/{CONFIG}"))
    # A link to a run elsewhere does not count: deleting the link keeps the run.
    other_runs = sorted(run for run in runs if resolved in run.resolve().parents)
    if other_runs:
        raise ValueError(
            f"--overwrite would delete the run directory {directory}, which contains other runs: "
            f"{', '.join(map(str, other_runs[:3]))}{', ...' if len(other_runs) > 3 else ''}. Choose another --name or "
            "--output_dir, or delete these runs first."
        )


def _is_inside(path: str, directory: Path) -> bool:
    """Return whether a path exists and is `directory` or lies in it, with or without resolving symbolic links."""
    expanded = Path(path).expanduser()
    folders = os.path.abspath(directory), os.path.realpath(directory)
    paths = os.path.abspath(expanded), os.path.realpath(expanded)
    return os.path.lexists(expanded) and any(Path(each).is_relative_to(folder) for each in paths for folder in folders)


def make_directory(directory: Path) -> bool:
    """Create the run directory if it does not exist, and return whether it was created.

    Raises:
        ValueError: if the directory cannot be created or written to.
    """
    is_new = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):  # an anonymous file: if the process is killed, no file remains
            pass
    except OSError as error:
        raise ValueError(f"Cannot write to the run directory {directory}: {error.strerror}.") from None
    return is_new


def prepare_directory(directory: Path, config: RunConfig) -> None:
    """Prepare the run directory by removing what an earlier run left in it. Call this on the main process only.

    A new run starts with an empty directory. For a resumed run, only temporary files and the old result are removed.

    Raises:
        ValueError: as in `check_directory`, or if the old files cannot be removed.
    """
    check_directory(directory, config)
    try:
        if config.resume is None:
            empty_directory(directory)
        else:
            remove_leftovers(directory)
            remove_leftovers(directory / CHECKPOINTS)
            remove(directory / RESULT)  # the result of the interrupted run
    except OSError as error:
        raise ValueError(f"Cannot replace the run directory {directory}: {error.strerror}.") from None


def empty_directory(directory: Path) -> None:
    """Delete the content of a directory but keep the directory, which may be a mount point or a symbolic link."""
    # config.yaml is deleted last: without it, a partly emptied directory would not be recognised as a run directory.
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name == CONFIG):
        remove(entry)
