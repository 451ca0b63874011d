"""Every flag of run.py by name: its type, and what it declares."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from research.settings.config import SETTING_GROUPS
from research.settings.declarations import Declaration, Effect, declarations, setting
from research.settings.value_types import alternatives

Listing = Literal["heads", "hooks", "edits", "schedules", "objectives", "cleaning", "data", "tasks", "encoders"]


@dataclass(frozen=True, kw_only=True)
class InspectionSettings:
    """Looking"""

    dry_run: bool = setting(False, effect=Effect.INVOCATION, fixed_in_studies="it lists all trials")
    """Print what the run will do, step range by step range, draw it into timeline.png, and stop; no weights are loaded
    and no row is tokenized."""
    print_config: bool = setting(
        False,
        effect=Effect.INVOCATION,
        fixed_in_studies="it prints and stops",
        study_alternative="--dry_run shows the trials",
    )
    """Print every setting, resolved, as YAML, and stop."""
    list: Listing | None = setting(
        None,
        effect=Effect.INVOCATION,
        fixed_in_studies="it prints and stops",
        study_alternative="run.py has it",
    )
    """Print what is registered, with options and sources, and stop."""
    traceback: bool = setting(False, effect=Effect.INVOCATION, fixed_in_studies="it shows the errors of all trials")
    """Show the whole traceback of an error in your own code, which is reported in a few lines otherwise."""


INSPECTION = tuple(declarations(InspectionSettings))
"""Flags that no recipe has."""


@functools.cache
def setting_types() -> dict[str, Any]:
    """Return the type of every flag by its name."""
    groups = (*SETTING_GROUPS, InspectionSettings)
    return {name: hint for group in groups for name, hint in typing.get_type_hints(group).items()}


@functools.cache
def _declarations() -> Mapping[str, Declaration]:
    groups = (*SETTING_GROUPS, InspectionSettings)
    return {name: declared for group in groups for name, declared in declarations(group).items()}


def declaration_of(name: str) -> Declaration:
    """Return what a flag declares."""
    return _declarations()[name]


def names_where(accepts: Callable[[Declaration], bool]) -> tuple[str, ...]:
    """Return the flags whose declarations are accepted, in the order of `--help`."""
    return tuple(name for name, declared in _declarations().items() if accepts(declared))


CHOICES = tuple(name for name, kind in setting_types().items() if {str, dict[str, Any]} <= {*alternatives(kind)})
"""Settings that hold a registered name with options, which follow as `--head.<option>`."""

WITH_OPTIONS = (*CHOICES, "hook")
"""Settings whose options follow behind a dot; a hook's behind its name."""
