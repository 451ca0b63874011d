"""Conversion between a study's trials and the trials in Optuna's storage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from research.studies.grid import Trial

Status = Literal["finished", "running", "waiting", "pruned", "failed"]
"""Status of a trial, as reports name it."""
UNDEFINED_METRIC = "undefined_metric"
"""Attribute of a finished trial whose compared metric is not a finite number. Optuna's state of such a trial is FAIL,
because it does not allow a complete trial without a value."""
PRUNED_AT = "pruned_at"
"""Attribute of a pruned trial: how much of the run was done, in percent."""
PROMOTED = "promoted"
"""Attribute of a trial that continues although it was pruned, and is not pruned again."""
DROPPED = "dropped"
"""Attribute of a trial that was removed before it ran."""
COPY_OF = "copy_of"
"""Attribute of a trial that continues another one, which died or was pruned: the number of that trial."""
REPEATS = "repeats"
"""Attribute of a trial of a search that has the settings of an earlier one, and was not run: the earlier trial's id."""
WARM_START = "warm_start"
"""Attribute of a trial of an earlier study, which informs a search: the directory of that study, and the trial's id."""
PAUSED = "paused"
"""Attribute of a finished trial that other trials fork: it was paused where they start, and has no metrics."""
IDENTITY = ("parent_id", "id", "arm", "seed", "axes", "settings")
"""Attributes that make up a `Trial`; a trial in the storage without `settings` belongs to no run."""
_STATUSES: dict[TrialState, Status] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class StorageEntry:
    """A trial as it is recorded in the storage."""

    trial: Trial
    """The trial."""
    state: TrialState
    """State of the trial in Optuna."""
    attributes: dict[str, Any]
    """Attributes stored with the trial, such as error, seconds, metrics, worker, host, directory, devices, deaths."""
    key: int
    """Id of the trial in the storage."""
    value: float | None = None
    """The compared metric of a complete trial."""
    second_value: float | None = None
    """The second objective of a complete trial of a search; None if the search has only one."""
    last_evaluation: float | None = None
    """The compared metric in the last evaluation that was recorded for the pruner."""

    @property
    def status(self) -> Status:
        """Return the trial's status. A trial whose metric is not defined is finished, and so is one that was paused."""
        is_finished = self.attributes.get(UNDEFINED_METRIC) or self.attributes.get(PAUSED)
        return "finished" if is_finished else _STATUSES[self.state]

    @property
    def is_unfinished(self) -> bool:
        """Return whether the trial is waiting or running."""
        return self.status in ("waiting", "running")


def make_waiting_trials(
    new: Sequence[Trial], grid: Sequence[Trial], existing: Sequence[FrozenTrial]
) -> list[FrozenTrial]:
    """Return new waiting trials in Optuna's form.

    Args:
        new: the trials to add.
        grid: all trials of the grid.
        existing: trials that are already in the storage.
    """
    # Each axis keeps the distribution of the first trial that has it.
    distributions: dict[str, BaseDistribution] = {}
    for trial in existing:
        distributions = {**trial.distributions, **distributions}
    grid_values = _values_by_axis(grid)
    waiting = []
    for each in new:
        waiting.append(_make_waiting_trial(each, _distributions(each, grid_values, distributions)))
        distributions = {**waiting[-1].distributions, **distributions}
    return waiting


def _make_waiting_trial(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    return create_trial(
        state=TrialState.WAITING,
        params={name: plain(trial.axes[name]) for name in distributions},
        distributions=dict(distributions),
        user_attrs=identity_of(trial),
    )


def identity_of(trial: Trial) -> dict[str, Any]:
    """Return a trial as attributes in the storage, with `settings` last."""
    return {name: getattr(trial, name) for name in IDENTITY}


def read_entry(stored: FrozenTrial) -> StorageEntry | None:
    """Return the entry of a trial in the storage, or None if another program added the trial."""
    attributes = stored.user_attrs
    if "settings" not in attributes:
        return None
    trial = Trial(**{name: attributes[name] for name in IDENTITY if name in attributes})
    values = stored.values if stored.state == TrialState.COMPLETE else []
    value, second_value = (*values, None, None)[:2]
    last = None if stored.last_step is None else stored.intermediate_values[stored.last_step]
    return StorageEntry(trial, stored.state, attributes, stored._trial_id, value, second_value, last)


def _values_by_axis(trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Return all values of each axis, in the order of the grid."""
    axes = dict.fromkeys(axis for trial in trials for axis in trial.axes)
    return {
        axis: list(dict.fromkeys(plain(trial.axes[axis]) for trial in trials if axis in trial.axes)) for axis in axes
    }


def _distributions(
    trial: Trial, grid_values: Mapping[str, list[Any]], existing: Mapping[str, BaseDistribution]
) -> dict[str, BaseDistribution]:
    """Return the Optuna distributions of a trial's axes, so that dashboards can show the axes.

    Optuna fixes the possible values of an axis, except for numbers, when the first trial of a study is added. A value
    that was added to the grid later is stored in the trial's attributes only.

    Args:
        trial: the trial.
        grid_values: all values of each axis in the grid.
        existing: distributions that the study already has.
    """
    distributions: dict[str, BaseDistribution] = {}
    for axis, value in trial.axes.items():
        stored = plain(value)
        wanted: BaseDistribution
        if isinstance(stored, bool) or not isinstance(stored, int | float):
            wanted = CategoricalDistribution(grid_values[axis])
        elif isinstance(stored, int):
            wanted = IntDistribution(0, 2**32 - 1)  # wide enough for later values too, and for any seed
        else:
            wanted = FloatDistribution(-1e9, 1e9)
        fixed = existing.get(axis, wanted)
        if type(fixed) is type(wanted) and (not isinstance(fixed, CategoricalDistribution) or stored in fixed.choices):
            distributions[axis] = fixed
    return distributions


def plain(value: Any) -> Any:
    """Return a value in a form that Optuna accepts."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
