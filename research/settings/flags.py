"""All flags of run.py by name, with their types and declarations."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from research.settings.config import SETTING_GROUPS
from research.settings.declarations import Declaration, Effect, declarations, setting
from research.settings.value_types import alternatives

Listing = Literal[
    "heads", "hooks", "edits", "optimizers", "schedules", "objectives", "cleaning", "data", "tasks", "encoders"
]
"""Values of --list."""


@dataclass(frozen=True, kw_only=True)
class InspectionSettings:
    """Inspection"""  # the title of the group in `--help`

    dry_run: bool = setting(False, effect=Effect.INVOCATION, why_fixed_in_studies="it lists all trials")
    """Print a plan of the run, one line per range of steps, draw it to timeline.png, and exit. No weights are loaded
    and no rows are tokenized, except for the one that shows the --template, and those whose windows are counted."""
    print_config: bool = setting(
        False,
        effect=Effect.INVOCATION,
        why_fixed_in_studies="it prints and exits",
        study_alternative="--dry_run shows the trials",
    )
    """Print all settings, with their final values, as YAML, and exit."""
    list: Listing | None = setting(
        None,
        effect=Effect.INVOCATION,
        why_fixed_in_studies="it prints and exits",
        study_alternative="use --list with run.py",
    )
    """Print all registered entries of a kind, with their options and sources, and exit."""
    traceback: bool = setting(False, effect=Effect.INVOCATION, why_fixed_in_studies="it shows the errors of all trials")
    """Show full tracebacks of errors in your own code; by default, such errors are reported in a few lines."""


INSPECTION_FLAGS = tuple(declarations(InspectionSettings))
"""Flags that cannot be set in a recipe."""


@functools.cache
def setting_types() -> dict[str, Any]:
    """Return the type of every setting and inspection flag, by name and in the order of `--help`."""
    groups = (*SETTING_GROUPS, InspectionSettings)
    return {name: hint for group in groups for name, hint in typing.get_type_hints(group).items()}


@functools.cache
def _declarations() -> Mapping[str, Declaration]:
    groups = (*SETTING_GROUPS, InspectionSettings)
    return {name: declared for group in groups for name, declared in declarations(group).items()}


def declaration_of(name: str) -> Declaration:
    """Return the declaration of a flag."""
    return _declarations()[name]


def names_where(accepts: Callable[[Declaration], bool]) -> tuple[str, ...]:
    """Return the names of the flags whose declarations satisfy a predicate, in the order of `--help`."""
    return tuple(name for name, declared in _declarations().items() if accepts(declared))


CHOICE_SETTINGS = tuple(
    name for name, type_hint in setting_types().items() if {str, dict[str, Any]} <= {*alternatives(type_hint)}
)
"""Settings whose value is one registered name with its options, which are set as `--head.<option>`."""

SETTINGS_WITH_OPTIONS = (*CHOICE_SETTINGS, "hook")
"""Settings with options after a dot. For hooks, the hook's name precedes the option: `--hook.ema.decay`."""
