"""The results of a search: its trials with their values and their metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.studies.storage.trials import PRUNED_AT, Status, StorageEntry


@dataclass(frozen=True)
class SearchTrial:
    """A trial of a search that has a value."""

    id: str
    """Id of the trial."""
    name: str
    """Its searched settings, as text."""
    values: Mapping[str, Any]
    """Value of each searched setting that the trial has."""
    metric: float
    """The compared metric on validation rows; of a pruned trial, at its last evaluation."""
    second: float
    """The second objective; NaN if there is none or the trial was pruned."""
    seconds: float
    """How long the trial took."""
    status: Status
    """finished or pruned."""
    pruned_at: int | None
    """How much of a pruned trial's run was done, in percent."""

    @property
    def is_pruned(self) -> bool:
        """Whether the trial was ended early."""
        return self.status == "pruned"


def read_search_trials(entries: Iterable[StorageEntry]) -> list[SearchTrial]:
    """Return the trials of a search that have a finite metric, in the order in which they started."""
    found = []
    for entry in entries:
        metric = entry.last_evaluation if entry.status == "pruned" else entry.value
        if entry.status in ("finished", "pruned") and metric is not None and math.isfinite(metric):
            found.append(_search_trial(entry, metric))
    return found


def mean_hours(trials: Sequence[SearchTrial]) -> float:
    """Return the hours that a trial took on average."""
    return sum(trial.seconds for trial in trials) / len(trials) / 3600


def _search_trial(entry: StorageEntry, metric: float) -> SearchTrial:
    trial, attributes = entry.trial, entry.attributes
    searched = {name: value for name, value in trial.axes.items() if name != "seed"}
    second = math.nan if entry.second_value is None else entry.second_value
    pruned_at = attributes.get(PRUNED_AT) if entry.status == "pruned" else None
    return SearchTrial(
        trial.id, trial.arm, searched, metric, second, attributes.get("seconds", 0.0), entry.status, pruned_at
    )
