"""Refuse what is plainly wrong before anything heavy is imported: torch and transformers take seconds."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from research.config import RunConfig
from research.launcher import refuse_launch
from research.paths import look_up
from research.plugins import check_plugins
from research.printable import printable
from research.resuming import check_checkpoint


def check_first(config: RunConfig) -> None:
    """Refuse a launch that cannot be followed, and paths where nothing is.

    Raises:
        ValueError: naming the setting and what was found.
    """
    refuse_launch()
    check_plugins(config.plugin)
    if config.resume not in (None, "auto"):
        check_checkpoint(Path(str(config.resume)), "--resume")
    for name, value in (("data", config.data), ("encoder", config.encoder), ("init_from", config.init_from)):
        if value is not None and _is_path(name, value):
            _check_path(name, look_up(value))


def _is_path(name: str, value: str) -> bool:
    """Return whether a value can only be a path: a Hub id has at most one slash, and a packaged name has neither."""
    if name == "init_from":
        return True
    if value.startswith("hub:"):
        return False
    return value.startswith((".", "/", "~")) or value.count("/") > 1 or (name == "data" and bool(Path(value).suffix))


def _check_path(name: str, path: Path) -> None:
    if path.exists():
        return
    folder = path.parent
    try:
        siblings = os.listdir(folder)
    except OSError:
        siblings = []
    nearest = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f" Did you mean '{folder / nearest[0]}'?" if nearest else ""
    raise ValueError(printable(f"There is no file or folder '{path}' for --{name}.{hint}"))
