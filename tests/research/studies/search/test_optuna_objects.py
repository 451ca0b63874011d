"""Samplers and pruners are created by name, and invalid names and options are refused."""

from __future__ import annotations

import importlib.util

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from heads.registry import UnknownNameError
from research.settings.config import Choice
from research.studies.search.optuna_objects import (
    PRUNERS,
    SAMPLERS,
    create_pruner,
    create_sampler,
    fix_values,
    to_distribution,
)
from research.studies.search.space import Range, Values

DISTRIBUTIONS = {
    "lr": FloatDistribution(1e-6, 1e-3, log=True),
    "dropout": FloatDistribution(0, 0.5),
    "head": CategoricalDistribution(["linear", "lstm"]),
}


def sample(name: str, seed: int, num_trials: int = 12, **fixed: object) -> list[dict[str, object]]:
    """Return the values of the first trials of a study whose metric is the dropout."""
    study = optuna.create_study()
    for rank in range(num_trials):
        sampler = create_sampler(Choice(name), seed, rank)
        study.sampler = fix_values(sampler, dict(fixed)) if fixed else sampler
        trial = study.ask(DISTRIBUTIONS)
        study.tell(trial, trial.params["dropout"])
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_trials_are_a_function_of_the_seed(name: str) -> None:
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        pytest.skip("requires the package cmaes")
    first = sample(name, seed=0)
    assert first == sample(name, seed=0)
    assert first != sample(name, seed=1)
    assert len({trial["lr"] for trial in first}) == len(first)


def test_points_of_qmc_belong_to_one_sequence() -> None:
    # A scrambled Sobol sequence has one point in each eighth of each axis; the first trial is drawn independently.
    dropouts = [float(str(trial["dropout"])) for trial in sample("qmc", seed=0, num_trials=9)[1:]]
    assert sorted(int(8 * dropout / 0.5) for dropout in dropouts) == list(range(8))


def test_fixed_values_are_chosen() -> None:
    trials = sample("tpe", 0, 3, lr=1e-4, head="lstm")
    assert {(trial["lr"], trial["head"]) for trial in trials} == {(1e-4, "lstm")}
    assert len({trial["dropout"] for trial in trials}) == 3


@pytest.mark.parametrize("name", PRUNERS)
def test_pruners_are_created_with_defaults_for_percentages(name: str) -> None:
    pruner = create_pruner(Choice(name))
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for value in (0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1):
        trial = study.ask()
        pruned = False
        for percent in (10, 50, 90):
            trial.report(value, percent)
            pruned = pruned or trial.should_prune()
        study.tell(trial, value)
    assert pruned or name == "hyperband"  # whose brackets have too few trials here


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'tpe'"):
        create_sampler(Choice("tep"), 0, 0)
    with pytest.raises(UnknownNameError, match="'multivariate'"):
        create_sampler(Choice("tpe", {"multivariat": True}), 0, 0)
    with pytest.raises(ValueError, match="--search_seed 3"):
        create_sampler(Choice("tpe", {"seed": 3}), 0, 0)
    with pytest.raises(UnknownNameError, match="'median'"):
        create_pruner(Choice("medain"))
    with pytest.raises(UnknownNameError, match="'n_startup_trials'"):
        create_pruner(Choice("median", {"startup_trials": 3}))
    with pytest.raises(ValueError, match="median"):
        create_pruner(Choice("median", {"n_startup_trials": -1}))


@pytest.mark.skipif(importlib.util.find_spec("cmaes") is not None, reason="cmaes is installed")
def test_missing_package_is_named_with_its_extra() -> None:
    with pytest.raises(ValueError, match=r"midway\[cmaes\]"):
        create_sampler(Choice("cmaes"), 0, 0)


def test_dimensions_become_distributions() -> None:
    assert to_distribution(Range(1e-6, 1e-3, is_log=True)) == FloatDistribution(1e-6, 1e-3, log=True)
    assert to_distribution(Range(8, 64, step=8, is_integer=True)) == IntDistribution(8, 64, step=8)
    values = Values(("linear", {"name": "lstm"}, None, True, 3))
    assert to_distribution(values) == CategoricalDistribution(["linear", '{"name": "lstm"}', "null", True, 3])
