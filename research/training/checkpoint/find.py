"""Checkpoints of a run directory: which there are, and whether they are whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from research.settings.forks import parse_fork
from research.settings.run_files import CHECKPOINTS
from research.system.manifest import MANIFEST, find_damage
from research.system.messages import logger
from research.system.paths import expand_path


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


@dataclass(frozen=True)
class Start:
    """The checkpoint that a run continues."""

    checkpoint: Path
    """Its folder."""
    is_fork: bool = False
    """Whether it belongs to another run, of which this one is a fork."""


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


def newest_checkpoint(directory: Path) -> Path | None:
    """Return the newest checkpoint of a run directory whose files are what its manifest says, or None.

    Damaged ones are skipped with a message.
    """
    for checkpoint in reversed(list_checkpoints(directory)):
        damage = find_damage(checkpoint)
        if damage is None:
            return checkpoint
        logger.info(f"Skipping the checkpoint {checkpoint}: {damage}.")
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
    if not expand_path(str(checkpoint / MANIFEST)).exists():
        raise CheckpointError(
            f"{checkpoint} is no checkpoint. One is a folder such as runs/<name>/checkpoints/step-00000400; --resume "
            "auto finds the newest in the run directory."
        )
    damage = find_damage(checkpoint)
    if damage is not None:
        raise CheckpointError(f"Cannot use {checkpoint} for {purpose}: {damage}.")


def fork_checkpoint(fork: str) -> Path:
    """Return the checkpoint that a fork begins with.

    Raises:
        CheckpointError: if there is none, or it is damaged.
    """
    point = parse_fork(fork)
    if point.step is None:
        newest = newest_checkpoint(point.run)
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
