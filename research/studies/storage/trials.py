"""Conversion between a study's trials and the trials in Optuna's storage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from research.studies.grid import Trial

FINISHED_STATES = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of finished trials. A pruned trial is finished, but its metric is not defined."""
UNFINISHED_STATES = (TrialState.WAITING, TrialState.RUNNING)
"""States of unfinished trials."""


@dataclass(frozen=True)
class StorageEntry:
    """A trial as it is recorded in the storage."""

    trial: Trial
    """The trial."""
    state: TrialState
    """WAITING, RUNNING, FAIL, COMPLETE, or PRUNED (complete, but the metric is not defined)."""
    attributes: dict[str, Any]
    """Attributes stored with the trial, such as error, seconds, metrics, worker, host, directory, devices, deaths."""
    key: int
    """Id of the trial in the storage."""
    value: float | None = None
    """The compared metric of a complete trial."""


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
        params={name: _plain(trial.axes[name]) for name in distributions},
        distributions=dict(distributions),
        user_attrs={
            "id": trial.id,
            "arm": trial.arm,
            "seed": trial.seed,
            "axes": trial.axes,
            "settings": trial.settings,
        },
    )


def read_entry(stored: FrozenTrial) -> StorageEntry | None:
    """Return the entry of a trial in the storage, or None if another program added the trial."""
    attributes = stored.user_attrs
    if "settings" not in attributes:
        return None
    trial = Trial(attributes["id"], attributes["arm"], attributes["seed"], attributes["axes"], attributes["settings"])
    value = stored.values[0] if stored.state == TrialState.COMPLETE else None
    return StorageEntry(trial, stored.state, attributes, stored._trial_id, value)


def _values_by_axis(trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Return all values of each axis, in the order of the grid."""
    axes = dict.fromkeys(axis for trial in trials for axis in trial.axes)
    return {
        axis: list(dict.fromkeys(_plain(trial.axes[axis]) for trial in trials if axis in trial.axes)) for axis in axes
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
        plain = _plain(value)
        wanted: BaseDistribution
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            wanted = CategoricalDistribution(grid_values[axis])
        elif isinstance(plain, int):
            wanted = IntDistribution(0, 2**32 - 1)  # wide enough for later values too, and for any seed
        else:
            wanted = FloatDistribution(-1e9, 1e9)
        fixed = existing.get(axis, wanted)
        if type(fixed) is type(wanted) and (not isinstance(fixed, CategoricalDistribution) or plain in fixed.choices):
            distributions[axis] = fixed
    return distributions


def _plain(value: Any) -> Any:
    """Return a value in a form that Optuna accepts."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
