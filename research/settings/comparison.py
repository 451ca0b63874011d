"""Compare the settings of two runs, and decide whether one run may continue the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from research.settings.config import Choice, RunConfig
from research.settings.declarations import Effect
from research.settings.flags import CHOICE_SETTINGS, declaration_of
from research.settings.options import complete_choice
from research.settings.registries import STEP_COUNT_PARAMETERS, load_registry


@dataclass(frozen=True)
class Differences:
    """Differences between a checkpoint's run and the run that continues it."""

    notes: list[str]
    """Changes that are accepted and reported."""
    refused: list[str]
    """Changes that are refused, because the settings would be those of a different run."""
    alters_training: bool = False
    """For a fork: whether a changed setting may make the fork train differently from its parent, or longer."""


def compare_settings(
    checkpoint_settings: Mapping[str, Any], current_settings: Mapping[str, Any], *, same_rows: bool, is_fork: bool
) -> Differences:
    """Compare the settings of a checkpoint's run with those of the run that continues it.

    Args:
        checkpoint_settings: settings in the checkpoint. A setting that is missing from the checkpoint counts as having
            its default.
        current_settings: settings of this run.
        same_rows: whether both runs use the same rows.
        is_fork: whether this run is a fork, which may change more settings.
    """
    notes: list[str] = []
    refused: list[str] = []
    alters_training = False
    checkpoint_settings = RunConfig().to_dict() | dict(checkpoint_settings)
    for name, value in current_settings.items():
        declared = declaration_of(name)
        old, new = _as_json(checkpoint_settings[name]), _as_json(value)
        if _are_equal(old, new) or _are_equal_choices(name, old, new) or declared.effect is Effect.INVOCATION:
            continue
        if is_fork and name == "fork":  # names the parent, so it differs in every fork
            continue
        change = f"{name} was {old!r}, now {new!r}"
        if declared.effect is Effect.ROWS:
            if same_rows:
                notes.append(f"{change} (the rows are the same)")
            else:
                refused.append(change)
        elif is_fork:
            (notes if declared.why_fixed_in_forks is None else refused).append(change)
            alters_training |= declared.effect is Effect.TRAINING
        elif declared.effect in (Effect.TEST, Effect.NONE):
            notes.append(change)
        elif declared.null_keeps_checkpoint_value and new is None:
            continue  # the checkpoint's value is kept
        elif declared.effect is Effect.ROUNDING:
            notes.append(f"{change} (numbers are rounded differently, or dropout drops different units)")
        else:
            refused.append(change)
    if not same_rows and not refused:
        refused.append("the data differ from the checkpoint's")
    return Differences(notes, refused, alters_training)


def _are_equal_choices(setting: str, old: Any, new: Any) -> bool:
    """Return whether two values choose the same entry with the same options.

    The checkpoint of an earlier version lacks the options that the entry did not have yet. They have their defaults.
    """
    if setting not in CHOICE_SETTINGS or old is None or new is None:
        return False
    try:
        return _complete_choice(setting, old) == _complete_choice(setting, new)
    except ValueError:  # such as an option that the entry no longer has
        return False


def _complete_choice(setting: str, value: Any) -> Choice:
    choice = Choice.of(value, setting)
    return complete_choice(load_registry(f"{setting}s"), choice, supplied_parameters=STEP_COUNT_PARAMETERS)


def _as_json(value: Any) -> Any:
    """Return a value as it is after a round trip through state.json: tuples become lists, keys become strings."""
    return json.loads(json.dumps(value))


def _are_equal(old: Any, new: Any) -> bool:
    """Return whether two values of a setting are equal; NaN equals itself, and 1 equals 1.0."""
    return bool(old == new) or json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
