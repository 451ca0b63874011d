"""Trained models, compared over the examples of a split: whether these models differ, not whether their methods do.

Other seeds give other models, and models of one and the same arm differ too. So nothing here is ever a verdict on arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap
from statsmodels.stats.contingency_tables import mcnemar

from research.studies.statistics.paired_t import LEVEL, Floats

Bools = NDArray[np.bool_]

SCOPE = "these trained models only"
NUM_RESAMPLES = 4999
EXACT_BELOW = 25
"""Rows that one model has right and the other wrong, below which the chi-squared approximation is too rough."""


@dataclass(frozen=True)
class McNemar:
    """Two models on the same rows: does one have more rows right?"""

    num_arm_only: int
    """Rows that only the arm's model has right."""
    num_baseline_only: int
    """Rows that only the baseline's model has right."""
    exact: bool
    """Whether p is the binomial test's; else of chi-squared, with continuity correction."""
    p: float
    """Two-sided p value."""
    scope: str = SCOPE
    """What it is about."""


@dataclass(frozen=True)
class ExampleBootstrap:
    """Two sets of models on the same rows: how would the difference move with other rows?"""

    difference: float
    """Mean score of the arm's models - mean score of the baseline's."""
    interval: tuple[float, float]
    """95% percentile interval, over resampled rows."""
    num_examples: int
    """Rows."""
    scope: str = SCOPE
    """What it is about."""


@dataclass(frozen=True)
class ExampleComparison:
    """The trained models of an arm and of the baseline, on the same rows."""

    seeds: tuple[int, ...]
    """Seeds that both have, ascending."""
    by_seed: Mapping[int, McNemar]
    """McNemar's test of the two models of each seed. They share their rows, so their counts must not be added up."""
    over_all_seeds: ExampleBootstrap
    """Difference in accuracy, averaged over the seeds."""
    scope: str = SCOPE
    """What it is about."""


def compare_examples(arm: Mapping[int, Bools], baseline: Mapping[int, Bools]) -> ExampleComparison:
    """Compare the models of an arm with those of the baseline.

    Args:
        arm: by seed, which rows are predicted rightly, [num_rows].
        baseline: the same for the same rows.
    Raises:
        ValueError: if they have no seed in common.
    """
    seeds = tuple(sorted(arm.keys() & baseline.keys()))
    if not seeds:
        raise ValueError(f"Expected a seed that both have; got {sorted(arm)} and {sorted(baseline)}.")
    return ExampleComparison(
        seeds,
        {seed: compare_models(arm[seed], baseline[seed]) for seed in seeds},
        bootstrap_examples([arm[seed] for seed in seeds], [baseline[seed] for seed in seeds]),
    )


def compare_models(arm: Bools, baseline: Bools) -> McNemar:
    """Return McNemar's test of two models: exact where they differ in few rows.

    Args:
        arm: which rows one model predicts rightly, [num_rows].
        baseline: which rows the other does.
    Raises:
        ValueError: if these are different numbers of rows.
    """
    _check_rows([arm, baseline])
    assert arm.dtype == baseline.dtype == np.bool_, "~ of numbers is no negation"
    num_arm_only, num_baseline_only = int((arm & ~baseline).sum()), int((baseline & ~arm).sum())
    table = [[int((arm & baseline).sum()), num_arm_only], [num_baseline_only, int((~arm & ~baseline).sum())]]
    exact = num_arm_only + num_baseline_only < EXACT_BELOW
    return McNemar(num_arm_only, num_baseline_only, exact, float(mcnemar(table, exact=exact, correction=True).pvalue))


def bootstrap_examples(
    arm: Sequence[NDArray[Any]],
    baseline: Sequence[NDArray[Any]],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> ExampleBootstrap:
    """Return a paired bootstrap over examples of the difference in a score, averaged over models.

    Args:
        arm: any score of each row, of each model of the arm, each [num_rows]: right or wrong, squared error, ...
        baseline: the same of the baseline's models, on the same rows.
        num_resamples: resamples of the rows.
        seed: of the resampling.
    Raises:
        ValueError: if these are different numbers of rows, or fewer than two.
    """
    _check_rows([*arm, *baseline])
    scores = [np.mean(np.asarray(models, dtype=np.float64), axis=0) for models in (arm, baseline)]
    found = bootstrap(
        scores,
        _mean_difference,
        paired=True,
        vectorized=True,
        n_resamples=num_resamples,
        batch=100,  # all resamples at once are gigabytes for some ten thousand rows
        confidence_level=1 - LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed),  # scipy below 1.15 does not know `rng`
    )
    low, high = found.confidence_interval
    return ExampleBootstrap(float(_mean_difference(*scores)), (float(low), float(high)), len(scores[0]))


def _mean_difference(arm: Floats, baseline: Floats, axis: int = -1) -> Floats:
    return np.asarray(arm.mean(axis=axis) - baseline.mean(axis=axis))


def _check_rows(models: Sequence[NDArray[Any]]) -> None:
    numbers = [len(each) for each in models]
    if len(set(numbers)) != 1 or numbers[0] < 2:
        raise ValueError(f"Expected predictions for the same rows, two or more; got {numbers} rows.")
