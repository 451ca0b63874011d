"""Where a run goes on, and what may differ from the run that wrote the checkpoint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from research.settings.config import NOT_REPEATED, DataSettings, RunConfig

Say = Callable[[str], None]


HARMLESS = (
    "plugin",
    "allow_padding_sensitive",
    "on_nonfinite",
    "save_every",
    "keep",
    "on_save_error",
    "log_with",
    "log_every",
    "profile",
)
"""Settings that change nothing of what is trained."""
ROUNDING = (
    "micro_batch_size",
    "evaluation_batch_size",
    "num_threads",
    "deterministic",
    "compile",
    "compile_backend",
    "cache_features",
    "cache_dtype",
)
"""Settings that change how numbers are rounded, or which units dropout drops."""
ABOUT_ROWS = tuple(
    item.name for item in dataclasses.fields(DataSettings) if item.name not in ("max_length", "truncation")
)
"""Settings that say which rows there are; what counts is the rows themselves."""
FIXED_IN_FORKS = ("encoder", "head", "freeze", "peft", "init_from", "batch_size", "seed", "optimizer", "smoke")
"""Settings that a fork must share with its parent: the checkpoint's weights, its optimizer, its place in the data."""

READ_BY_EVALUATIONS = ("max_length", "truncation")
"""Settings that decide how much of a row an evaluation reads; a fork's metrics do not compare across a change."""


@dataclass(frozen=True)
class Differences:
    """What differs between a checkpoint's run and this one."""

    notes: list[str]
    """What is taken over, to be said."""
    refused: list[str]
    """What would make it another run."""
    alters_training: bool = False
    """Whether a fork has settings by which it may train on, or otherwise, where its parent stopped."""


def compare_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], *, same_rows: bool, is_fork: bool
) -> Differences:
    """Compare the settings of a checkpoint's run with those of the run that continues it.

    Args:
        before: settings in the checkpoint. A setting that came later than the checkpoint counts as its default.
        now: settings of this run.
        same_rows: whether both have the same rows.
        is_fork: whether this run is a fork, which may differ in more.
    """
    notes: list[str] = []
    refused: list[str] = []
    alters_training = False
    before = RunConfig().to_dict() | dict(before)
    for name, value in now.items():
        old, new = _as_json(before[name]), _as_json(value)
        if _are_equal(old, new) or name in NOT_REPEATED or (is_fork and name == "fork"):
            continue
        change = f"{name} was {old!r}, now {new!r}"
        if name in ABOUT_ROWS:
            (notes if same_rows else refused).append(f"{change} (the rows are the same)" if same_rows else change)
        elif is_fork:
            (refused if name in FIXED_IN_FORKS else notes).append(change)
            alters_training |= name not in (*HARMLESS, *ROUNDING)
        elif name in HARMLESS:
            notes.append(change)
        elif name == "num_threads" and new is None:
            continue  # the checkpoint's number is taken
        elif name in ROUNDING:
            notes.append(f"{change} (numbers are rounded in another way, or dropout drops other units)")
        else:
            refused.append(change)
    if not same_rows and not refused:
        refused.append("the rows of the data are others")
    return Differences(notes, refused, alters_training)


def _as_json(value: Any) -> Any:
    """Return a value as state.json gives it back: a tuple is a list there, and keys are text."""
    return json.loads(json.dumps(value))


def _are_equal(old: Any, new: Any) -> bool:
    """Return whether two values of a setting are the same; NaN equals itself, and 1 equals 1.0."""
    return bool(old == new) or json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
