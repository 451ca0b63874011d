"""The one primary test of comparisons: paired t over seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

Floats = NDArray[np.floating[Any]]

LEVEL = 0.05
"""Share of false alarms that tests may give; intervals cover the rest."""
ROUNDING = 1e-12
"""Spread that is none, as a share of the values: 0.9 - 0.8 and 0.8 - 0.7 differ by rounding alone."""


@dataclass(frozen=True)
class PairedT:
    """Paired t tests of any number of pairs of arms; each field has the shape of the arguments but for the seeds."""

    mean: Floats
    """Mean difference over seeds, arm - baseline."""
    std: Floats
    """Standard deviation of the differences (n - 1); NaN for one seed."""
    low: Floats
    """Lower end of the 95% t interval of the mean difference; NaN where `std` is NaN or 0."""
    high: Floats
    """Upper end."""
    p: Floats
    """Two-sided p value. 1 where all values are the same in both arms. NaN for one seed, and where a difference is the
    same for all seeds: t would be infinite and p 0, however small the difference."""


def paired_t(arm: Floats, baseline: Floats | float) -> PairedT:
    """Compare arms with baselines, seed by seed.

    Args:
        arm: finite values of a metric, [..., num_seeds].
        baseline: those of the same seeds, or one number that the mean is compared with.
    """
    size = np.maximum(np.abs(arm), np.abs(baseline)).max(axis=-1)
    assert np.isfinite(size).all(), "a value that is no finite number"
    differences = arm - baseline
    mean = differences.mean(axis=-1)
    if arm.shape[-1] == 1:
        unknown = np.full_like(mean, np.nan)
        return PairedT(mean, unknown, unknown, unknown, unknown)
    constant = np.ptp(differences, axis=-1) <= ROUNDING * size
    same = constant & (np.abs(mean) <= ROUNDING * size)
    std = np.where(constant, 0.0, differences.std(axis=-1, ddof=1))
    # scipy warns of constant values; NaN it passes on.
    test = ttest_1samp(np.where(constant[..., None], np.nan, differences), 0.0, axis=-1)
    interval = test.confidence_interval(1 - LEVEL)
    return PairedT(np.where(same, 0.0, mean), std, interval.low, interval.high, np.where(same, 1.0, test.pvalue))
