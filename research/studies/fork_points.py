"""Checks of trials that fork a run: the checkpoint exists and leaves steps to train, and all edits are reached."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from research.edits.timeline import parse_timeline, resolve_timeline
from research.runner.resolve import resolve
from research.settings.times import Clock
from research.studies.grid import Trial
from research.training.checkpoint.find import find_fork_checkpoint
from research.training.checkpoint.load import refuse_short_fork
from research.training.checkpoint.state import parent_at, read_state


def check_fork_points(trials: Sequence[Trial]) -> None:
    """Check that trials can start from the checkpoints that they fork.

    Args:
        trials: the trials to check. Leave out trials that have been checked before: the checkpoints that they fork may
            have been deleted since.
    Raises:
        ValueError: if a checkpoint does not exist or leaves no steps to train, or if the trial never reaches an edit of
            its timeline; the message names the trial.
    """
    checkpoints: dict[str, Path] = {}
    for trial in trials:
        fork = trial.settings["fork"]
        if fork is None:
            continue
        try:
            if fork not in checkpoints:
                checkpoints[fork] = find_fork_checkpoint(fork)
            _check_fork_point(trial, fork, checkpoints[fork])
        except ValueError as error:
            raise ValueError(f"{trial.arm}, seed {trial.seed}: {error}") from None


def _check_fork_point(trial: Trial, fork: str, checkpoint: Path) -> None:
    # The precision is not known here, because the launcher may choose it; "no" is a placeholder.
    config = resolve(dataclasses.replace(trial.config(), mixed_precision="no"))
    saved = Clock(**read_state(checkpoint)["clock"])
    clock = Clock.of_run(
        num_examples=saved.examples_per_epoch or saved.steps_per_epoch * saved.batch_size,
        batch_size=config.batch_size,
        epochs=config.epochs,
        max_steps=config.max_steps,
    )
    refuse_short_fork(saved.step, clock.total_steps)
    # Refuses an edit that is never reached.
    resolve_timeline(parse_timeline(config), clock, smoke=config.smoke, parent=parent_at(fork, checkpoint))
