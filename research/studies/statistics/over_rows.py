"""Comparisons of trained models over the rows of a split.

Such a comparison shows whether these particular models differ, not whether the methods behind them differ. Different
seeds give different models, and even the models of a single arm differ from each other. Therefore these tests never
lead to a verdict about arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.contingency_tables import mcnemar

from research.statistics.bootstrap import percentile_interval
from research.studies.statistics.paired_t import Floats

Bools = NDArray[np.bool_]

SCOPE = "these trained models only"
NUM_RESAMPLES = 4999
EXACT_BELOW = 25
"""With fewer discordant rows (one model right, the other wrong), the exact test is used, because the chi-squared
approximation is too rough."""


@dataclass(frozen=True)
class McNemar:
    """McNemar's test: of two models, does one predict more rows correctly than the other, on the same rows?"""

    num_arm_only: int
    """Number of rows that only the arm's model predicts correctly."""
    num_baseline_only: int
    """Number of rows that only the baseline's model predicts correctly."""
    exact: bool
    """Whether p is from the exact binomial test; otherwise from the chi-squared test with continuity correction."""
    p: float
    """Two-sided p value."""
    scope: str = SCOPE
    """What the result applies to."""


@dataclass(frozen=True)
class RowBootstrap:
    """Bootstrap over rows: how much would the difference between two sets of models vary with different rows?"""

    difference: float
    """Mean correctness of the arm's models minus that of the baseline's models."""
    interval: tuple[float, float]
    """95% percentile interval over resampled rows."""
    num_rows: int
    """Number of rows."""
    scope: str = SCOPE
    """What the interval is about."""


@dataclass(frozen=True)
class RowComparison:
    """Comparison of the trained models of an arm and of the baseline on the same rows."""

    seeds: tuple[int, ...]
    """Common seeds, ascending."""
    by_seed: Mapping[int, McNemar]
    """McNemar's test of the two models of each seed. All tests use the same rows, so their counts must not be added."""
    over_all_seeds: RowBootstrap
    """Difference in mean correctness, averaged over the seeds."""
    scope: str = SCOPE
    """What the comparison is about."""


def compare_over_rows(arm: Mapping[int, Bools], baseline: Mapping[int, Bools]) -> RowComparison:
    """Compare the models of an arm with those of the baseline.

    Args:
        arm: by seed, whether each row is predicted correctly, [num_rows].
        baseline: the same for the baseline's models, on the same rows.
    Raises:
        ValueError: if the arm and the baseline have no common seed, if the numbers of rows differ, or if there are
            fewer than two rows.
    """
    seeds = tuple(sorted(arm.keys() & baseline.keys()))
    if not seeds:
        raise ValueError(
            f"Expected at least one common seed; the arm has seeds {sorted(arm)}, and the baseline {sorted(baseline)}."
        )
    return RowComparison(
        seeds,
        {seed: compare_models(arm[seed], baseline[seed]) for seed in seeds},
        bootstrap_rows([arm[seed] for seed in seeds], [baseline[seed] for seed in seeds]),
    )


def compare_models(arm: Bools, baseline: Bools) -> McNemar:
    """Compare two models with McNemar's test, which is exact if they differ in few rows.

    Args:
        arm: whether the arm's model predicts each row correctly, [num_rows].
        baseline: the same for the baseline's model.
    Raises:
        ValueError: if the numbers of rows differ, or if there are fewer than two rows.
    """
    _check_rows([arm, baseline])
    assert arm.dtype == baseline.dtype == np.bool_, "~ is a logical negation only for booleans"
    num_arm_only, num_baseline_only = int((arm & ~baseline).sum()), int((baseline & ~arm).sum())
    table = [[int((arm & baseline).sum()), num_arm_only], [num_baseline_only, int((~arm & ~baseline).sum())]]
    exact = num_arm_only + num_baseline_only < EXACT_BELOW
    return McNemar(num_arm_only, num_baseline_only, exact, float(mcnemar(table, exact=exact, correction=True).pvalue))


def bootstrap_rows(
    arm: Sequence[NDArray[Any]],
    baseline: Sequence[NDArray[Any]],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> RowBootstrap:
    """Compute a paired bootstrap over rows for the difference in correctness, averaged over models.

    Args:
        arm: for each model of the arm, its correctness on each row (right or wrong, or a distance), each [num_rows].
        baseline: the same for the baseline's models, on the same rows.
        num_resamples: number of resamples of the rows.
        seed: seed of the resampling.
    Raises:
        ValueError: if the numbers of rows differ, or if there are fewer than two rows.
    """
    _check_rows([*arm, *baseline])
    mean_correctness = [np.mean(np.asarray(models, dtype=np.float64), axis=0) for models in (arm, baseline)]
    low, high = percentile_interval(mean_correctness, _mean_difference, num_resamples=num_resamples, seed=seed)
    difference = float(_mean_difference(*mean_correctness))
    return RowBootstrap(difference, (float(low), float(high)), len(mean_correctness[0]))


def _mean_difference(arm: Floats, baseline: Floats, axis: int = -1) -> Floats:
    return np.asarray(arm.mean(axis=axis) - baseline.mean(axis=axis))


def _check_rows(models: Sequence[NDArray[Any]]) -> None:
    numbers = [len(each) for each in models]
    if len(set(numbers)) != 1 or numbers[0] < 2:
        raise ValueError(
            f"Expected predictions of all models for the same rows, at least two; got {numbers} rows per model."
        )
