"""Where a run goes on, and what may differ from the run that wrote the checkpoint."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.settings.config import NOT_REPEATED, DataSettings, RunConfig
from research.settings.forks import parse_fork
from research.settings.run_files import CHECKPOINTS
from research.system.manifest import MANIFEST, find_damage
from research.system.paths import look_up

Say = Callable[[str], None]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


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
class Start:
    """The checkpoint that a run continues."""

    checkpoint: Path
    """Its folder."""
    is_fork: bool = False
    """Whether it belongs to another run, of which this one is a fork."""


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


def refuse(checkpoint: Path, refused: list[str], *, is_fork: bool) -> None:
    """Refuse to continue what would be another run.

    Raises:
        CheckpointError: listing the differences.
    """
    if not refused:
        return
    listed = "; ".join(refused)
    if is_fork:
        raise CheckpointError(
            f"A fork of {checkpoint} cannot differ in this: {listed}. Use edits (--timeline) for the model; for other "
            "data or another seed begin a new run, from these weights with --init_from."
        )
    run, name = checkpoint.parent.parent, checkpoint.name
    raise CheckpointError(
        f"{checkpoint} belongs to a run with other settings: {listed}. Resume with the same ones, or continue it as "
        f"another run: --fork {run}@{re.sub('-0+', '-', name)}."
    )


def newest_checkpoint(directory: Path, say: Say) -> Path | None:
    """Return the newest checkpoint of a run directory whose files are what its manifest says, or None.

    Damaged ones are skipped with a word.
    """
    for checkpoint in reversed(list_checkpoints(directory)):
        damage = find_damage(checkpoint)
        if damage is None:
            return checkpoint
        say(f"Skipping the checkpoint {checkpoint}: {damage}.")
    return None


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("step-"))


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints of a run directory, by step: clocks may go backwards, steps do not."""
    found = {
        int(match[1]): entry
        for entry in (directory / CHECKPOINTS).glob("step-*")
        if (match := re.fullmatch(r"step-(\d+)", entry.name))
    }
    return [found[step] for step in sorted(found)]


def check_checkpoint(checkpoint: Path, purpose: str) -> None:
    """Refuse a folder that is no whole checkpoint.

    Args:
        checkpoint: the folder.
        purpose: the flag that names it.
    Raises:
        CheckpointError: saying what is wrong with it.
    """
    if not look_up(str(checkpoint / MANIFEST)).exists():
        raise CheckpointError(
            f"{checkpoint} is no checkpoint. One is a folder such as runs/<name>/checkpoints/step-00000400; --resume "
            "auto finds the newest in the run directory."
        )
    damage = find_damage(checkpoint)
    if damage is not None:
        raise CheckpointError(f"Cannot use {checkpoint} for {purpose}: {damage}.")


def fork_checkpoint(fork: str, say: Say) -> Path:
    """Return the checkpoint that a fork begins with.

    Raises:
        CheckpointError: if there is none, or it is damaged.
    """
    point = parse_fork(fork)
    if point.step is None:
        newest = newest_checkpoint(point.run, say)
        if newest is None:
            raise CheckpointError(f"--fork {fork}: {point.run} has no checkpoint; it needs --save_every.")
        return newest
    check_has_step(fork)
    (checkpoint,) = (each for each in list_checkpoints(point.run) if step_of(each) == point.step)
    check_checkpoint(checkpoint, "--fork")
    return checkpoint


def check_has_step(fork: str) -> None:
    """Refuse a fork of a run without checkpoints, or without the one that is named; none of them is read.

    Raises:
        CheckpointError: if there is none.
    """
    point = parse_fork(fork)
    steps = [step_of(checkpoint) for checkpoint in list_checkpoints(point.run)]
    if point.step is None and not steps:
        raise CheckpointError(f"--fork {fork}: {point.run} has no checkpoint; it needs --save_every.")
    if point.step is not None and point.step not in steps:
        there = ", ".join(map(str, steps)) or "none"
        raise CheckpointError(f"--fork {fork}: no checkpoint of step {point.step}. Checkpoints: {there}.")
