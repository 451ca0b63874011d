"""Checks of trials that fork a run: the checkpoint exists and leaves steps to train, and all edits are reached."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from research.data.prepare.load import load_splits
from research.edits.timeline import parse_timeline, resolve_timeline
from research.runner.resolve import resolve_trial
from research.settings.smoke import reduce_for_smoke
from research.settings.times import Clock, parse_time
from research.studies.grid import Trial
from research.training.checkpoint.find import find_fork_checkpoint
from research.training.checkpoint.load import refuse_short_fork
from research.training.checkpoint.state import parent_at, read_state


def check_common_pasts(trials: Sequence[Trial], parents: Sequence[Trial]) -> None:
    """Check that the trials of a study reach the step at which they fork, and that their edits are due from there on.

    Args:
        trials: the trials.
        parents: the trials that they fork.
    Raises:
        ValueError: if the runs end before that step, or if a trial has an edit that is due before it and is not an edit
            of the trial that it forks; the message names the trial.
    """
    parents_by_id = {parent.id: parent for parent in parents}
    for trial in trials:
        if trial.parent_id is None:
            continue
        parent = parents_by_id[trial.parent_id]
        config = reduce_for_smoke(trial.config()) if trial.settings["smoke"] else trial.config()
        clock = Clock.of_run(
            num_examples=load_splits(config).num_train,
            batch_size=config.batch_size,
            epochs=config.epochs,
            max_steps=config.max_steps,
        )
        time = parent.settings["pause_at"]
        step = parse_time(time).to_period(clock)
        if step >= clock.total_steps:
            raise ValueError(f"The arms fork at {time}, which is step {step:,}; their runs have {clock.total_steps:,}.")
        known = {entry.identity for entry in parse_timeline(parent.config())}
        new = [entry for entry in parse_timeline(config) if entry.identity not in known]
        for entry in new:
            first = None if entry.when is not None or config.smoke else min(entry.steps(clock), default=None)
            if first is not None and first < step:  # a smoke run compresses the timeline
                raise ValueError(
                    f"{trial.arm}, seed {trial.unit}: {entry.requested_by} ({entry}) is due after step {first:,}, but "
                    f"the arms fork only after step {step:,}. Put it into the base, or fork earlier."
                )


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
            raise ValueError(f"{trial.arm}, seed {trial.unit}: {error}") from None


def _check_fork_point(trial: Trial, fork: str, checkpoint: Path) -> None:
    config = resolve_trial(trial.config())
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
