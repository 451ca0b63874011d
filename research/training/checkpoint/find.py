"""Find the checkpoints of a run directory, and check that they are complete."""

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
    """A checkpoint cannot be used."""


@dataclass(frozen=True)
class StartCheckpoint:
    """The checkpoint that a run continues."""

    checkpoint: Path
    """Directory of the checkpoint."""
    is_fork: bool = False
    """Whether the checkpoint belongs to another run, of which this run is a fork."""


def refuse_changed_settings(checkpoint: Path, changes: list[str], *, is_fork: bool) -> None:
    """Refuse to continue a checkpoint with changed settings that must not change.

    Args:
        checkpoint: directory of the checkpoint.
        changes: descriptions of the settings that differ and must not.
        is_fork: whether the run is a fork.
    Raises:
        CheckpointError: if there are such settings; lists them.
    """
    if not changes:
        return
    listed = "; ".join(changes)
    if is_fork:
        raise CheckpointError(
            f"A fork of {checkpoint} cannot change these settings: {listed}. To change the model, use edits "
            "(--timeline). For different data or a different seed, start a new run; --init_from loads these weights."
        )
    run, name = checkpoint.parent.parent, checkpoint.name  # --fork accepts step-400 for step-00000400
    raise CheckpointError(
        f"{checkpoint} belongs to a run with different settings: {listed}. Resume with the same settings, or "
        f"fork the run to change them: --fork {run}@{re.sub('-0+', '-', name)}."
    )


def newest_checkpoint(directory: Path) -> Path | None:
    """Return the newest undamaged checkpoint of a run directory, or None if there is none.

    Damaged checkpoints are skipped with a message.
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
    """Return the checkpoints of a run directory, ordered by step (not by file time, which copying may change)."""
    found = {
        int(match[1]): entry
        for entry in (directory / CHECKPOINTS).glob("step-*")
        if (match := re.fullmatch(r"step-(\d+)", entry.name))
    }
    return [found[step] for step in sorted(found)]


def check_checkpoint(checkpoint: Path, flag: str) -> None:
    """Check that a folder is a complete checkpoint.

    Args:
        checkpoint: the folder.
        flag: the command-line flag that needs the checkpoint, for the message.
    Raises:
        CheckpointError: if the folder is not a checkpoint, or is damaged; gives the reason.
    """
    if not expand_path(str(checkpoint / MANIFEST)).exists():
        raise CheckpointError(
            f"{checkpoint} is not a checkpoint. Expected a folder such as runs/<name>/checkpoints/step-00000400; "
            "--resume auto finds the newest one in the run directory."
        )
    damage = find_damage(checkpoint)
    if damage is not None:
        raise CheckpointError(f"Cannot use {checkpoint} for {flag}: {damage}.")


def find_fork_checkpoint(fork: str) -> Path:
    """Find the checkpoint that a fork continues.

    Args:
        fork: value of --fork, RUN or RUN@step-N. RUN alone stands for its newest checkpoint.
    Raises:
        CheckpointError: if there is no such checkpoint, or it is damaged.
    """
    fork_point = parse_fork(fork)
    if fork_point.step is None:
        newest = newest_checkpoint(fork_point.run)
        if newest is None:
            raise CheckpointError(
                f"--fork {fork}: {fork_point.run} has no usable checkpoint. Train that run again with --save_every."
            )
        return newest
    check_fork_step_exists(fork)
    (checkpoint,) = (each for each in list_checkpoints(fork_point.run) if step_of(each) == fork_point.step)
    check_checkpoint(checkpoint, "--fork")
    return checkpoint


def check_fork_step_exists(fork: str) -> None:
    """Check that the checkpoint that a fork continues exists, without reading the checkpoint.

    Args:
        fork: value of --fork, RUN or RUN@step-N. RUN alone stands for its newest checkpoint.
    Raises:
        CheckpointError: if the checkpoint does not exist.
    """
    fork_point = parse_fork(fork)
    steps = [step_of(checkpoint) for checkpoint in list_checkpoints(fork_point.run)]
    if fork_point.step is None and not steps:
        raise CheckpointError(
            f"--fork {fork}: {fork_point.run} has no checkpoint. Train that run again with --save_every."
        )
    if fork_point.step is not None and fork_point.step not in steps:
        listed = ", ".join(map(str, steps)) or "none"
        raise CheckpointError(
            f"--fork {fork}: no checkpoint of step {fork_point.step}. Steps with a checkpoint: {listed}."
        )
