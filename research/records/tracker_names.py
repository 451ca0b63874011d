"""Names of accelerate's trackers, read from its source code, because importing accelerate takes seconds."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from heads.registry import UnknownNameError, describe_unknown

_TABLE = "LOGGER_TYPE_TO_CLASS"
"""Name of the dictionary in accelerate's tracking.py that lists the trackers."""
_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX")}
"""Alternative packages for trackers whose package has a different name. One of them must be installed."""


def check_tracker_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Check that accelerate knows each tracker and that its package is installed.

    Args:
        names: the chosen trackers.
        known: all trackers that accelerate knows.
    Raises:
        UnknownNameError: if a tracker is unknown; the message suggests the nearest name and lists all trackers.
        ValueError: if a package is missing.
    """
    for name in names:
        if name not in known:
            raise UnknownNameError(describe_unknown("tracker", name, known, listed_as="Trackers"))
        if not any(importlib.util.find_spec(package) for package in _PACKAGES.get(name, (name,))):
            raise_missing_package(name)


def raise_missing_package(name: str) -> None:
    """Raise the error for a tracker whose package is not installed.

    Raises:
        ValueError: always; the message gives the command that installs the package.
    """
    raise ValueError(
        f"The package of the tracker '{name}' (--log_with) is not installed. "
        f"Install it with: pip install {name.replace('_', '-')}."
    )


def read_tracker_names() -> list[str]:
    """Return the names of all trackers, or an empty list if accelerate no longer defines them in the expected place."""
    spec = importlib.util.find_spec("accelerate")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0], "tracking.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys)) if name == _TABLE:
                return [str(ast.literal_eval(key)) for key in keys if key is not None]
    return []
