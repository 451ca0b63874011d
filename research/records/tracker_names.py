"""Trackers that accelerate knows, read from its source: importing it takes seconds."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from heads.registry import UnknownNameError, describe_unknown

_TABLE = "LOGGER_TYPE_TO_CLASS"
"""Where accelerate lists them, in tracking.py."""
_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX")}
"""Packages one of which a tracker needs, where they are not called like it."""


def check_tracker_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse trackers that accelerate does not know, or that have no package here.

    Args:
        names: what was chosen.
        known: all that accelerate knows.
    Raises:
        UnknownNameError: naming the nearest tracker and all of them.
        ValueError: if a package is missing.
    """
    for name in names:
        if name not in known:
            raise UnknownNameError(describe_unknown("tracker", name, known, listed_as="Trackers"))
        if not any(importlib.util.find_spec(package) for package in _PACKAGES.get(name, (name,))):
            refuse_without_package(name)


def refuse_without_package(name: str) -> None:
    """Refuse a tracker whose package is not installed.

    Raises:
        ValueError: saying what to install.
    """
    raise ValueError(f"The tracker '{name}' of --log_with needs a package: pip install {name.replace('_', '-')}.")


def read_tracker_names() -> list[str]:
    """Return the names of all trackers; none, if accelerate keeps them elsewhere by now."""
    spec = importlib.util.find_spec("accelerate")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0], "tracking.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys)) if name == _TABLE:
                return [str(ast.literal_eval(key)) for key in keys if key is not None]
    return []
