"""Confidence intervals that stay within a metric's range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

LARGEST_EXPONENT = 300.0
"""Upper limit of exponents: the exponential of 710 overflows, and an interval this wide is meaningless anyway."""
UNBOUNDED = (-np.inf, np.inf)
Floats = NDArray[np.floating[Any]]


def bounded_interval(mean: ArrayLike, half_width: ArrayLike, bounds: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return confidence intervals of means that stay within a range, given the half width of Student's t interval.

    The interval is computed on a transformed scale: the logit if the metric has two bounds (for a correlation, this is
    Fisher's z up to a factor), the logarithm if it has a lower bound only, and the metric itself if it has no bounds.
    The half width is divided by the slope of the inverse transformation at the mean (delta method), so single values
    at a bound cause no problem. In simulations, these intervals cover the true mean more often than Student's t
    intervals, which are too short near a bound, and more often than intervals on the arcsine square root scale
    (experiments/benchmarks/calibration.py).

    Args:
        mean: means, within the bounds.
        half_width: half width of Student's t interval, NaN if there is no interval.
        bounds: smallest and largest possible value of the metric; infinite if there is no such bound.
    Returns:
        Lower and upper ends, NaN if there is no interval.
    """
    mean, half_width = np.asarray(mean, dtype=np.float64), np.asarray(half_width, dtype=np.float64)
    low, high = bounds
    if np.isinf(low) and np.isinf(high):
        return mean - half_width, mean + half_width
    assert not np.isinf(low), "a metric with an upper bound only"
    # The transformed mean is infinite at a bound, and not defined if rounding has put the mean beyond it, so the
    # distances to the bounds are at least the smallest positive number.
    tiny = np.finfo(np.float64).tiny
    below = np.maximum(mean - low, tiny)
    if np.isinf(high):
        factor = np.exp(np.minimum(half_width / below, LARGEST_EXPONENT))
        return low + below / factor, low + below * factor
    above = np.maximum(high - mean, tiny)
    centre, shift = np.log(below / above), half_width / below * ((high - low) / above)
    return low + (high - low) * expit(centre - shift), low + (high - low) * expit(centre + shift)
