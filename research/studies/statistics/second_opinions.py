"""Further comparisons of an arm with the baseline, beside the paired t test. They never determine a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, wilcoxon

from research.studies.statistics.paired_t import LEVEL, ROUNDING, Floats

NUM_RESAMPLES = 1000
"""Number of bootstrap samples."""


@dataclass(frozen=True)
class StochasticOrder:
    """How far the distribution of an arm's values is from being above that of the baseline's."""

    violation_ratio: float
    """Share of the squared distance between the two quantile functions where the arm's is below the baseline's: 0 if
    the arm's values are stochastically larger, 1 if the baseline's are, 0.5 if all values are equal."""
    low: float
    """Lower bound of the ratio, with a confidence of 95%."""
    high: float
    """Upper bound of the ratio, with a confidence of 95%. Called epsilon in the papers."""


def order_stochastically(
    arm: Floats, baseline: Floats, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> StochasticOrder:
    """Compare two distributions by almost stochastic order.

    Source: del Barrio et al. 2018, An Optimal Transportation Approach for Assessing Almost Stochastic Order; Dror et
    al. 2019, Deep Dominance, section 4. The values of the two arms count as independent: pairs have no effect.

    Args:
        arm: finite values of a metric of which higher values are better, [num_values].
        baseline: as many values of the baseline.
        num_resamples: number of bootstrap samples from which the standard error of the ratio is estimated.
        seed: seed of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    samples = (rng.choice(values, size=(num_resamples, len(values))) for values in (arm, baseline))
    ratio = float(_violation_ratio(arm, baseline))
    margin = float(norm.ppf(1 - LEVEL) * _violation_ratio(*samples).std(ddof=1))
    return StochasticOrder(ratio, max(0.0, ratio - margin), min(1.0, ratio + margin))


def _violation_ratio(arm: Floats, baseline: Floats) -> Floats:
    """Return the violation ratio of samples of equal size, each [..., num_values]."""
    distances = np.sort(arm, axis=-1) - np.sort(baseline, axis=-1)
    total = np.square(distances).sum(axis=-1)
    below = np.square(np.minimum(distances, 0)).sum(axis=-1)
    return np.where(total > 0, below / np.where(total > 0, total, 1), 0.5)


def signed_rank_p(arm: Floats, baseline: Floats) -> float:
    """Return the two-sided p value of the Wilcoxon signed-rank test of paired values; equal pairs are dropped.

    Args:
        arm: finite values of a metric, [num_values].
        baseline: the baseline's values for the same seeds or folds.
    """
    largest = max(np.abs(arm).max(), np.abs(baseline).max(), np.finfo(np.float64).tiny)
    differences = np.round((arm - baseline) / largest / ROUNDING)  # so that rounding errors make no ranks
    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if len(differences) else 1.0
