"""Optuna's samplers, pruners and distributions, by the names that a search uses."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, PercentilePruner, SuccessiveHalvingPruner
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    PartialFixedSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from heads.registry import UnknownNameError, describe_unknown
from research.settings.config import Choice
from research.studies.search.space import Dimension, Range
from research.studies.storage.trials import plain
from research.system.errors import one_line
from research.system.packages import Package
from research.system.seeds import derive_seed

SAMPLERS: Mapping[str, type[BaseSampler]] = {
    "tpe": TPESampler,
    "random": RandomSampler,
    "qmc": QMCSampler,
    "gp": GPSampler,
    "cmaes": CmaEsSampler,
    "nsgaii": NSGAIISampler,
    "nsgaiii": NSGAIIISampler,
}
"""Optuna's samplers."""
PRUNERS: Mapping[str, type[BasePruner]] = {
    "median": MedianPruner,
    "percentile": PercentilePruner,
    "successive_halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
}
"""Optuna's pruners."""
_SAMPLER_DEFAULTS: Mapping[str, dict[str, Any]] = {"qmc": {"scramble": True}}
"""Options of samplers whose defaults in Optuna make no use of the seed."""
_PRUNER_DEFAULTS: Mapping[str, dict[str, Any]] = {
    "percentile": {"percentile": 50.0},
    "successive_halving": {"min_resource": 10, "reduction_factor": 3},
    "hyperband": {"min_resource": 10, "max_resource": 100, "reduction_factor": 3},
}
"""Options of pruners whose defaults in Optuna do not fit a resource that is the share of the run in percent."""


def create_sampler(choice: Choice, seed: int, rank: int) -> BaseSampler:
    """Return the sampler for one trial of a search.

    Args:
        choice: name and options of the sampler.
        seed: seed of the search.
        rank: number of proposed trials before this one.
    Raises:
        ValueError: if the name or an option is unknown, or a package is missing.
    """
    if choice.name == "cmaes":
        Package("cmaes", extra="cmaes").check_installed("sampler 'cmaes'")
    trial_seed = derive_seed(seed, rank)
    own_options: dict[str, Any] = {"seed": trial_seed}
    if choice.name == "qmc":  # all trials are points of one sequence
        independent_sampler = RandomSampler(seed=trial_seed)
        own_options = {"seed": seed, "independent_sampler": independent_sampler, "warn_independent_sampling": False}
    sampler: BaseSampler = _create("sampler", SAMPLERS, choice, _SAMPLER_DEFAULTS.get(choice.name, {}), own_options)
    return sampler


def fix_values(sampler: BaseSampler, values: dict[str, Any]) -> BaseSampler:
    """Return a sampler that chooses the given values, and the other ones as `sampler` does."""
    with _without_experimental_warnings():
        return PartialFixedSampler(values, sampler)


def create_pruner(choice: Choice) -> BasePruner:
    """Return a pruner. Its resource is how much of the run is done, in percent.

    Raises:
        ValueError: if the name or an option is unknown.
    """
    pruner: BasePruner = _create("pruner", PRUNERS, choice, _PRUNER_DEFAULTS.get(choice.name, {}), {})
    return pruner


def _create(
    kind: str,
    classes: Mapping[str, type[Any]],
    choice: Choice,
    defaults: Mapping[str, Any],
    own_options: Mapping[str, Any],
) -> Any:
    """Return an object of one of `classes`.

    Args:
        kind: what the classes are, for messages.
        classes: classes by name.
        choice: name and options that the user has chosen.
        defaults: default values that replace Optuna's.
        own_options: options that the user cannot choose.
    Raises:
        ValueError: if the name or an option is unknown, or the value of an option is invalid.
    """
    if choice.name not in classes:
        raise UnknownNameError(describe_unknown(kind, choice.name, classes))
    known = [name for name in inspect.signature(classes[choice.name]).parameters if name not in own_options]
    for option in choice.options:
        if option == "seed":
            raise ValueError(f"The seed of the {kind} is the search's: use --search_seed {choice.options[option]}.")
        if option not in known:
            raise UnknownNameError(describe_unknown(f"option of the {kind} {choice.name}", option, known))
    try:
        with _without_experimental_warnings():
            return classes[choice.name](**{**defaults, **choice.options, **own_options})
    except (TypeError, ValueError) as error:
        raise ValueError(f"Cannot create the {kind} {choice.name}: {one_line(error)}") from None


@contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    """Suppress Optuna's warnings that a class or an option is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def to_distribution(dimension: Dimension) -> BaseDistribution:
    """Return the Optuna distribution of a dimension. Values that are no plain values are encoded as JSON."""
    if not isinstance(dimension, Range):
        return CategoricalDistribution([plain(value) for value in dimension.values])
    if dimension.is_integer:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.is_log, step=int(dimension.step or 1)
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log, step=dimension.step)
