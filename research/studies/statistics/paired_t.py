"""Paired t test over seeds or folds, the primary test of a study's comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t
from scipy.stats import ttest_1samp

Floats = NDArray[np.floating[Any]]

LEVEL = 0.05
"""Significance level of tests; the confidence level of intervals is 1 - LEVEL."""
ROUNDING = 1e-12
"""Relative spread up to which values count as equal: 0.9 - 0.8 and 0.8 - 0.7 differ only by rounding."""


@dataclass(frozen=True)
class PairedT:
    """Paired t tests of any number of pairs of arms.

    Each field has the shape of the arguments without the last dimension.
    """

    mean: Floats
    """Mean difference over seeds or folds, arm - baseline."""
    std: Floats
    """Standard deviation of the differences (n - 1); NaN for a single value."""
    low: Floats
    """Lower end of the 95% confidence interval of the mean difference; NaN if `std` is NaN or 0."""
    high: Floats
    """Upper end of the interval; NaN if `std` is NaN or 0."""
    p: Floats
    """Two-sided p value. 1 if both arms have the same values. NaN for a single value, and if a nonzero difference is
    always the same: t would be infinite and p 0, however small the difference."""


def paired_t(arm: Floats, baseline: Floats | float, num_folds: int | None = None) -> PairedT:
    """Run a paired t test of arms against baselines over their seeds or folds.

    Differences over folds are not independent, because the training rows of the folds overlap. The corrected resampled
    t test therefore estimates the variance of their mean as (1/J + n_test/n_train) times the variance of the J
    differences, instead of 1/J times. The ratio n_test/n_train is 1 / (num_folds - 1): validation rows count as
    training rows.

    Source: Nadeau & Bengio 2003, Inference for the Generalization Error; for several seeds, each with folds of its own,
    Bouckaert & Frank 2004, Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms.

    Args:
        arm: finite values of a metric, [..., num_seeds] or, with folds, [..., J].
        baseline: finite values for the same seeds or folds, or one number to compare the mean with.
        num_folds: number of folds; None if the values are of seeds that share their training and test rows.
    """
    magnitude = np.maximum(np.abs(arm), np.abs(baseline)).max(axis=-1)  # largest absolute value
    assert np.isfinite(magnitude).all(), "a value is not a finite number"
    differences = arm - baseline
    mean = differences.mean(axis=-1)
    if arm.shape[-1] == 1:
        unknown = np.full_like(mean, np.nan)
        return PairedT(mean, unknown, unknown, unknown, unknown)
    constant = np.ptp(differences, axis=-1) <= ROUNDING * magnitude
    equal = constant & (np.abs(mean) <= ROUNDING * magnitude)
    std = np.where(constant, 0.0, differences.std(axis=-1, ddof=1))
    # NaN instead of constant differences: scipy warns about constant values, but propagates NaN silently.
    test = ttest_1samp(np.where(constant[..., None], np.nan, differences), 0.0, axis=-1)
    interval = test.confidence_interval(1 - LEVEL)
    low, high, p = interval.low, interval.high, test.pvalue
    if num_folds is not None:
        widening = np.sqrt(variance_factor(arm.shape[-1], num_folds))
        low, high = mean - (mean - low) * widening, mean + (high - mean) * widening
        p = 2 * student_t.sf(np.abs(test.statistic) / widening, test.df)
    return PairedT(np.where(equal, 0.0, mean), std, low, high, np.where(equal, 1.0, p))


def variance_factor(num_values: int, num_folds: int | None) -> float:
    """Return by how much the variance of a mean over folds exceeds that of a mean over independent values."""
    return 1.0 if num_folds is None else 1 + num_values / (num_folds - 1)
