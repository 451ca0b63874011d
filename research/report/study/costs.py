"""What the trials of each arm cost: time and trainable parameters."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from research.ablation.outcomes import Outcome, StudyOutcomes
from research.edits.journal import JOURNAL, read


@dataclass(frozen=True)
class TrialCost:
    """What one trial cost."""

    seconds: float
    """Time of its steps."""
    is_cached: bool
    """Whether it read hidden states that were computed before: its time is without the encoder."""
    trainable_parameters: int
    """At the end."""
    mean_trainable_parameters: float
    """Mean over its steps; the same as at the end where its journal is not here."""


@dataclass(frozen=True)
class ArmCost:
    """What the trials of one arm cost."""

    arm: str
    """Which one."""
    trials: Mapping[int, TrialCost]
    """By seed."""

    @property
    def seconds(self) -> float:
        """Return the mean over seeds."""
        return statistics.fmean(trial.seconds for trial in self.trials.values())

    @property
    def num_cached(self) -> int:
        """Return how many of the trials have a time that is without the encoder."""
        return sum(trial.is_cached for trial in self.trials.values())

    @property
    def trainable_parameters(self) -> float:
        """Return the mean over seeds of the number at the end."""
        return statistics.fmean(trial.trainable_parameters for trial in self.trials.values())

    @property
    def mean_trainable_parameters(self) -> float:
        """Return the mean over seeds of the mean over steps."""
        return statistics.fmean(trial.mean_trainable_parameters for trial in self.trials.values())

    @property
    def changes_midway(self) -> bool:
        """Return whether the number of trainable parameters was another one during a part of the steps."""
        return self.trainable_parameters != self.mean_trainable_parameters


def find_costs(study: StudyOutcomes) -> list[ArmCost]:
    """Return what the arms cost that have finished trials with a result here, in the order of the grid."""
    costs: dict[str, dict[int, TrialCost]] = {arm: {} for arm in study.arms}
    for outcome in study.finished:
        cost = _cost(outcome)
        if cost is not None:
            costs[outcome.trial.arm][outcome.trial.seed] = cost
    return [ArmCost(arm, trials) for arm, trials in costs.items() if trials]


def _cost(outcome: Outcome) -> TrialCost | None:
    result = outcome.result
    if result is None or "train_seconds" not in result:  # of a trial elsewhere, its metrics alone are known
        return None
    at_the_end = result["trainable_parameters"]
    mean = _mean_over_steps(outcome, result["steps"], at_the_end)
    return TrialCost(result["train_seconds"], bool(result.get("cached_features")), at_the_end, mean)


def _mean_over_steps(outcome: Outcome, num_steps: int, at_the_end: int) -> float:
    edits = read(outcome.directory) if (outcome.directory / JOURNAL).exists() else []
    if not edits or num_steps == 0:
        return at_the_end
    # Edits before the first step (step 0) and after the last one count for no step.
    total, begin, number = 0, 0, edits[0].trainable_parameters[0]
    for edit in edits:
        total += (edit.step - begin) * number
        begin, number = edit.step, edit.trainable_parameters[1]
    return (total + (num_steps - begin) * number) / num_steps
