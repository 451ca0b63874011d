"""Trials are converted to Optuna's trials and back."""

from __future__ import annotations

import dataclasses

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from research.studies.grid import Trial
from research.studies.storage.trials import make_waiting_trials, read_entry
from tests.builders.studies import make_trial


def with_axes(trial: Trial, **axes: object) -> Trial:
    return dataclasses.replace(trial, axes=axes)


def test_trial_survives_a_round_trip_through_optuna() -> None:
    trial = with_axes(make_trial("lstm", 3), head={"name": "lstm"}, seed=3)
    (waiting,) = make_waiting_trials(new=[trial], grid=[trial], existing=[])
    entry = read_entry(waiting)
    assert entry is not None
    assert entry.trial == trial  # all fields, including axes and settings
    assert (entry.state, entry.value) == (TrialState.WAITING, None)
    assert read_entry(create_trial(state=TrialState.WAITING)) is None  # a trial that another program added


def test_distributions_contain_all_values_of_the_axes() -> None:
    grid = [
        with_axes(make_trial(head, seed), head=head, seed=seed, lr=lr, smoke=True)
        for head in ("linear", "lstm")
        for seed, lr in enumerate((0.1, 0.2))
    ]
    added = make_waiting_trials(new=grid[:1], grid=grid, existing=[])
    distributions = added[0].distributions
    assert distributions["head"] == CategoricalDistribution(["linear", "lstm"])
    assert distributions["smoke"] == CategoricalDistribution([True])
    assert isinstance(distributions["seed"], IntDistribution)
    assert isinstance(distributions["lr"], FloatDistribution)
    # Optuna keeps the first list of choices, so a value that was added later is in the attributes only.
    later = with_axes(make_trial("gru", 0), head="gru", seed=0, lr=0.1, smoke=True)
    (added_later,) = make_waiting_trials(new=[later], grid=[*grid, later], existing=added)
    assert "head" not in added_later.distributions
    assert added_later.params == {"seed": 0, "lr": 0.1, "smoke": True}
    assert added_later.user_attrs["axes"]["head"] == "gru"
