"""Costs of the arms: time and trainable parameters."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from research.records.journal_file import read_journal
from research.settings.run_files import JOURNAL
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.units import Unit


@dataclass(frozen=True)
class TrialCost:
    """Cost of one trial."""

    seconds: float
    """Time of all training steps, in seconds."""
    is_cached: bool
    """Whether the trial read cached hidden states, so that its time does not include the encoder."""
    trainable_parameters: int
    """Number of trainable parameters at the end."""
    mean_trainable_parameters: float
    """Number of trainable parameters, averaged over steps; the number at the end if the journal is not available."""
    total_parameters: int | None = None
    """Number of all parameters at the end; None if the run did not record it."""
    device_hours: float | None = None
    """Time of the whole run times its number of processes, in hours; None if the run did not record it."""
    changes_midway: bool = False
    """Whether the number of trainable parameters changed between steps."""


@dataclass(frozen=True)
class ArmCost:
    """Cost of one arm."""

    arm: str
    """Name of the arm."""
    trials: Mapping[Unit, TrialCost]
    """Cost of each trial, by seed."""

    @property
    def seconds(self) -> float:
        """Return the mean time over seeds, in seconds."""
        return statistics.fmean(trial.seconds for trial in self.trials.values())

    @property
    def num_cached(self) -> int:
        """Return the number of trials whose time does not include the encoder."""
        return sum(trial.is_cached for trial in self.trials.values())

    @property
    def trainable_parameters(self) -> float:
        """Return the number of trainable parameters at the end, averaged over seeds."""
        return statistics.fmean(trial.trainable_parameters for trial in self.trials.values())

    @property
    def total_parameters(self) -> float | None:
        """Return the number of all parameters at the end, averaged over seeds; None if a trial did not record it."""
        return _mean([trial.total_parameters for trial in self.trials.values()])

    @property
    def device_hours(self) -> float | None:
        """Return the device hours of a trial, averaged over seeds; None if a trial did not record them."""
        return _mean([trial.device_hours for trial in self.trials.values()])

    @property
    def mean_trainable_parameters(self) -> float:
        """Return the number of trainable parameters, averaged over steps and seeds."""
        return statistics.fmean(trial.mean_trainable_parameters for trial in self.trials.values())

    @property
    def changes_midway(self) -> bool:
        """Return whether the number of trainable parameters changed during any of the trials."""
        return any(trial.changes_midway for trial in self.trials.values())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def find_costs(study: StudyOutcomes) -> list[ArmCost]:
    """Return the costs of all arms with finished trials whose results are on this machine, in the order of the grid."""
    costs: dict[str, dict[Unit, TrialCost]] = {arm: {} for arm in study.arms}
    for outcome in study.finished:
        cost = _read_cost(outcome)
        if cost is not None:
            costs[outcome.trial.arm][outcome.trial.unit] = cost
    return [ArmCost(arm, trials) for arm, trials in costs.items() if trials]


def total_device_hours(study: StudyOutcomes) -> float | None:
    """Return the device hours of all finished trials and of their common pasts; None if one of them is not known."""
    results = [*(outcome.result for outcome in study.finished), *study.common_pasts.values()]
    hours = [None if result is None else result.get("device_hours") for result in results]
    known = [each for each in hours if each is not None]
    return sum(known) if known and len(known) == len(hours) else None


def _read_cost(outcome: Outcome) -> TrialCost | None:
    result = outcome.result
    # Only the metrics are known if the trial ran on another machine.
    if result is None or "train_seconds" not in result:
        return None
    steps_by_number = _steps_by_trainable_parameters(outcome, result["steps"]) or {result["trainable_parameters"]: 1}
    return TrialCost(
        seconds=result["train_seconds"],
        is_cached=bool(result.get("cached_features")),
        trainable_parameters=result["trainable_parameters"],
        mean_trainable_parameters=sum(number * steps for number, steps in steps_by_number.items())
        / sum(steps_by_number.values()),
        total_parameters=result.get("total_parameters"),
        device_hours=result.get("device_hours"),
        changes_midway=len(steps_by_number) > 1,
    )


def _steps_by_trainable_parameters(outcome: Outcome, num_steps: int) -> dict[int, int]:
    """Return how many steps were trained with each number of trainable parameters.

    The result is empty if the trial has no journal, edits or steps.
    """
    edits = read_journal(outcome.directory) if (outcome.directory / JOURNAL).exists() else []
    if not edits or num_steps == 0:
        return {}
    # An edit before the first step has step 0. An edit after the last step affects no step.
    bounds = [0, *(edit.step for edit in edits), num_steps]
    # `trainable_parameters` has the numbers before and after the edit.
    numbers = [edits[0].trainable_parameters[0], *(edit.trainable_parameters[1] for edit in edits)]
    steps: dict[int, int] = {}
    for number, (begin, end) in zip(numbers, itertools.pairwise(bounds), strict=True):
        if end > begin:
            steps[number] = steps.get(number, 0) + end - begin
    return steps
