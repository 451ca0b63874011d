"""Trials as Optuna's storage holds them, and as a study reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from research.studies.grid import Trial

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of trials that came to their end; of a pruned one the metric is not defined."""
OPEN = (TrialState.WAITING, TrialState.RUNNING)
"""States of trials that something is left to do for."""


@dataclass(frozen=True)
class Entry:
    """The latest that the storage knows of a trial."""

    trial: Trial
    """Which one."""
    state: TrialState
    """WAITING, RUNNING, FAIL, COMPLETE, or PRUNED: complete with a metric that is not defined."""
    attributes: dict[str, Any]
    """What was noted of it: error, seconds, host, directory, devices, deaths."""
    key: int
    """Its number in the storage."""
    value: float | None = None
    """The metric that is compared, of one that is complete."""


def waiting_trials(new: Sequence[Trial], grid: Sequence[Trial], before: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return trials that wait, for Optuna's storage.

    Args:
        new: what is added.
        grid: all trials that the study shall have.
        before: what the storage has already.
    """
    distributions: dict[str, BaseDistribution] = {}
    for trial in before:
        distributions = {**trial.distributions, **distributions}
    choices = _choices(grid)
    waiting = []
    for each in new:
        waiting.append(_waiting(each, _distributions(each, choices, distributions)))
        distributions = {**waiting[-1].distributions, **distributions}
    return waiting


def _waiting(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
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


def read_entry(found: FrozenTrial) -> Entry | None:
    """Return what the storage knows of a trial, or None of a trial that another program added."""
    facts = found.user_attrs
    if "settings" not in facts:
        return None
    trial = Trial(facts["id"], facts["arm"], facts["seed"], facts["axes"], facts["settings"])
    value = found.values[0] if found.state == TrialState.COMPLETE else None
    return Entry(trial, found.state, facts, found._trial_id, value)


def _choices(trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Return every value of each axis, in the order of the grid."""
    axes = dict.fromkeys(axis for trial in trials for axis in trial.axes)
    return {
        axis: list(dict.fromkeys(_plain(trial.axes[axis]) for trial in trials if axis in trial.axes)) for axis in axes
    }


def _distributions(
    trial: Trial, choices: Mapping[str, list[Any]], first: Mapping[str, BaseDistribution]
) -> dict[str, BaseDistribution]:
    """Return what dashboards draw axes with; Optuna's lists of choices are fixed when a study's first trial is added.

    An axis whose list has grown since is among the trial's attributes only.

    Args:
        trial: whose axes.
        choices: every value of each axis in the grid.
        first: what the study has already.
    """
    found: dict[str, BaseDistribution] = {}
    for axis, value in trial.axes.items():
        plain = _plain(value)
        wanted: BaseDistribution
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            wanted = CategoricalDistribution(choices[axis])
        elif isinstance(plain, int):
            wanted = IntDistribution(0, 2**32 - 1)
        else:
            wanted = FloatDistribution(-1e9, 1e9)
        there = first.get(axis, wanted)
        if type(there) is type(wanted) and (not isinstance(there, CategoricalDistribution) or plain in there.choices):
            found[axis] = there
    return found


def _plain(value: Any) -> Any:
    """Return a value as Optuna takes one."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
