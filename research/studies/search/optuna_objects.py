"""Optuna's samplers, pruners and distributions, by the names that a search uses."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
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
_PRUNER_DEFAULTS: Mapping[str, dict[str, Any]] = {
    "percentile": {"percentile": 50.0},
    "successive_halving": {"min_resource": 10, "reduction_factor": 3},
    "hyperband": {"min_resource": 10, "max_resource": 100, "reduction_factor": 3},
}
"""Options of pruners whose defaults in Optuna do not fit a resource that is the share of the run in percent."""


def create_sampler(choice: Choice, seed: int) -> BaseSampler:
    """Return a sampler.

    Args:
        choice: name and options of the sampler.
        seed: its seed.
    Raises:
        ValueError: if the name or an option is unknown, or a package is missing.
    """
    if choice.name == "cmaes":
        Package("cmaes", extra="cmaes").check_installed("sampler 'cmaes'")
    sampler: BaseSampler = _create("sampler", SAMPLERS, Choice(choice.name, {**choice.options, "seed": seed}))
    return sampler


def create_pruner(choice: Choice) -> BasePruner:
    """Return a pruner. Its resource is how much of the run is done, in percent.

    Raises:
        ValueError: if the name or an option is unknown.
    """
    options = {**_PRUNER_DEFAULTS.get(choice.name, {}), **choice.options}
    pruner: BasePruner = _create("pruner", PRUNERS, Choice(choice.name, options))
    return pruner


def _create(kind: str, classes: Mapping[str, type[Any]], choice: Choice) -> Any:
    if choice.name not in classes:
        raise UnknownNameError(describe_unknown(kind, choice.name, classes))
    known = [name for name in inspect.signature(classes[choice.name]).parameters if name != "seed"]
    for option in choice.options:
        if option not in (*known, "seed"):
            raise UnknownNameError(describe_unknown(f"option of the {kind} {choice.name}", option, known))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return classes[choice.name](**choice.options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Cannot create the {kind} {choice.name}: {one_line(error)}") from None


def to_distribution(dimension: Dimension) -> BaseDistribution:
    """Return the Optuna distribution of a dimension. Values that are no plain values are encoded as JSON."""
    if not isinstance(dimension, Range):
        return CategoricalDistribution([plain(value) for value in dimension.values])
    if dimension.is_integer:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.is_log, step=int(dimension.step or 1)
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log, step=dimension.step)
