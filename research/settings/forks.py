"""`--fork runs/a@step-400`: parse the starting point of a fork, and read the settings that the fork inherits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from research.settings.run_files import CONFIG
from research.system.errors import one_line
from research.system.paths import expand_path


@dataclass(frozen=True)
class ForkPoint:
    """The checkpoint at which a fork starts."""

    run: Path
    """Directory of the parent run."""
    step: int | None
    """Step of the checkpoint; None for the newest checkpoint."""


def parse_fork(text: str) -> ForkPoint:
    """Parse the starting point of a fork.

    Args:
        text: `runs/a@step-400`, `runs/a@400`, or `runs/a` for the newest checkpoint.
    Raises:
        ValueError: if the text has a different form, or the run does not exist.
    """
    name, separator, step = text.rpartition("@")
    if not separator or "/" in step:
        name, step = text, ""
    match = re.fullmatch(r"(?:step-)?(\d+)", step)
    if step and match is None:
        raise ValueError(
            f"Expected --fork runs/<name>@step-400, or runs/<name> for the newest checkpoint; got '{text}'."
        )
    config = expand_path(str(Path(name) / CONFIG))
    if not config.is_file():
        raise ValueError(f"--fork {text}: {config.parent} is not a run directory (it has no config.yaml).")
    return ForkPoint(config.parent, int(match[1]) if match else None)


def find_parent_directory(text: str) -> str:
    """Return the directory of the run that `--fork` names.

    Raises:
        ValueError: see `parse_fork`.
    """
    return str(parse_fork(text).run)


def read_inherited_settings(fork: str) -> dict[str, Any]:
    """Return the settings of a fork's parent, which the fork's recipes and flags override.

    Raises:
        ValueError: if the settings cannot be read.
    """
    return read_settings(parse_fork(fork).run / CONFIG, "the run to fork")


def read_settings(path: Path, run_description: str) -> dict[str, Any]:
    """Read the settings in a run's config.yaml.

    Args:
        path: the file.
        run_description: what error messages call the run, such as "the run to fork".
    Raises:
        ValueError: if the settings cannot be read.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"The settings of {run_description}, {path}, cannot be read: {one_line(error)}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"The settings of {run_description}, {path}, are not a mapping.")
    return settings
