"""Paired t test over seeds, the primary test of a study's comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

Floats = NDArray[np.floating[Any]]

LEVEL = 0.05
"""Significance level of tests; the confidence level of intervals is 1 - LEVEL."""
ROUNDING = 1e-12
"""Relative spread up to which values count as equal: 0.9 - 0.8 and 0.8 - 0.7 differ only by rounding."""


@dataclass(frozen=True)
class PairedT:
    """Paired t tests of any number of pairs of arms.

    Each field has the shape of the arguments without the dimension of the seeds.
    """

    mean: Floats
    """Mean difference over seeds, arm - baseline."""
    std: Floats
    """Standard deviation of the differences (n - 1); NaN for a single seed."""
    low: Floats
    """Lower end of the 95% confidence interval of the mean difference; NaN if `std` is NaN or 0."""
    high: Floats
    """Upper end of the interval; NaN if `std` is NaN or 0."""
    p: Floats
    """Two-sided p value. 1 if both arms have the same values. NaN for a single seed, and if a nonzero difference is the
    same for all seeds: t would be infinite and p 0, however small the difference."""


def paired_t(arm: Floats, baseline: Floats | float) -> PairedT:
    """Run a paired t test of arms against baselines over their seeds.

    Args:
        arm: finite values of a metric, [..., num_seeds].
        baseline: finite values for the same seeds, [..., num_seeds], or one number to compare the mean with.
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
    return PairedT(np.where(equal, 0.0, mean), std, interval.low, interval.high, np.where(equal, 1.0, test.pvalue))
