"""The results of a search: its trials with their values and their metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from research.studies.grid import Trial
from research.studies.storage.trials import PRUNED_AT, StorageEntry


@dataclass(frozen=True)
class SearchTrial:
    """A trial of a search that has a value."""

    trial: Trial
    """The trial."""
    metric: float
    """The compared metric on validation rows; of a pruned trial, at its last evaluation."""
    second: float
    """The second objective; NaN if there is none or the trial was pruned."""
    seconds: float
    """How long the trial took."""
    pruned_at: int | None
    """How much of the run was done when the trial was pruned, in percent; None if it is finished."""

    @property
    def values(self) -> dict[str, Any]:
        """Return the value of each searched setting that the trial has."""
        return {name: value for name, value in self.trial.axes.items() if name != "seed"}

    @property
    def is_pruned(self) -> bool:
        """Whether the trial was ended early."""
        return self.pruned_at is not None


def read_search_trials(entries: Iterable[StorageEntry]) -> list[SearchTrial]:
    """Return the trials of a search that have a finite metric, in the order in which they started."""
    found = []
    for entry in entries:
        is_pruned = entry.status == "pruned"
        metric = entry.last_evaluation if is_pruned else entry.value
        if entry.status in ("finished", "pruned") and metric is not None and math.isfinite(metric):
            second = math.nan if entry.second_value is None else entry.second_value
            pruned_at = entry.attributes[PRUNED_AT] if is_pruned else None
            found.append(SearchTrial(entry.trial, metric, second, entry.attributes.get("seconds", 0.0), pruned_at))
    return found


def best_first(trials: Iterable[SearchTrial], *, higher_is_better: bool) -> list[SearchTrial]:
    """Return the finished trials, the best first; of equal ones, the earlier first.

    With two objectives, these are only the best trade-offs: the trials for which no other one is better in one
    objective and at least as good in the other.
    """
    sign = -1 if higher_is_better else 1
    finished = [trial for trial in trials if not trial.is_pruned]
    best: list[SearchTrial] = []
    lowest = math.inf  # second objective of the trials that are better in the first one
    for trial in sorted(
        finished, key=lambda each: (sign * each.metric, 0.0 if math.isnan(each.second) else each.second)
    ):
        if math.isnan(trial.second):
            best.append(trial)
        elif trial.second < lowest:
            best.append(trial)
            lowest = trial.second
    return best


def mean_hours(trials: Sequence[SearchTrial]) -> float:
    """Return the hours that a trial took on average."""
    return sum(trial.seconds for trial in trials) / len(trials) / 3600
