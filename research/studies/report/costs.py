"""What the trials of each arm cost: time and trainable parameters."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from research.records.journal_file import read_journal
from research.settings.run_files import JOURNAL
from research.studies.outcomes import Outcome, StudyOutcomes


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
    changes_midway: bool = False
    """Whether some steps trained other parameters than others, in number."""


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
        """Return whether some steps of a trial trained other parameters than others, in number."""
        return any(trial.changes_midway for trial in self.trials.values())


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
    spans = _spans(outcome, result["steps"]) or {result["trainable_parameters"]: 1}
    return TrialCost(
        seconds=result["train_seconds"],
        is_cached=bool(result.get("cached_features")),
        trainable_parameters=result["trainable_parameters"],
        mean_trainable_parameters=sum(number * steps for number, steps in spans.items()) / sum(spans.values()),
        changes_midway=len(spans) > 1,
    )


def _spans(outcome: Outcome, num_steps: int) -> dict[int, int]:
    """Return how many steps each number of parameters was trained; nothing without a journal, steps or edits."""
    edits = read_journal(outcome.directory) if (outcome.directory / JOURNAL).exists() else []
    if not edits or num_steps == 0:
        return {}
    # An edit before the first step is at step 0; one after the last step counts for none.
    bounds = [0, *(edit.step for edit in edits), num_steps]
    numbers = [edits[0].trainable_parameters[0], *(edit.trainable_parameters[1] for edit in edits)]
    spans: dict[int, int] = {}
    for number, (begin, end) in zip(numbers, itertools.pairwise(bounds), strict=True):
        if end > begin:
            spans[number] = spans.get(number, 0) + end - begin
    return spans
