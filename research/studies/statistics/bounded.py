"""Intervals that stay within a metric's range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

LARGEST_EXPONENT = 300.0
"""An interval that reaches so far says nothing, and the exponential of 710 is infinite."""
UNBOUNDED = (-np.inf, np.inf)
Floats = NDArray[np.floating[Any]]


def bounded_interval(mean: ArrayLike, half_width: ArrayLike, bounds: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return an interval of means on the scale that fits a range, from the half width of Student's interval.

    The scale is the logit between two bounds (for a correlation that is Fisher's z), the logarithm above one, and the
    metric itself without any. The width is carried over by the scale's slope at the mean (delta method), so single
    values at a bound do no harm. In simulations this covers the true mean more often than Student's interval, which is
    too short near a bound, and than the arcsine of the root (experiments/benchmarks/calibration.py).

    Args:
        mean: means, within the bounds.
        half_width: of Student's interval; NaN where there is none.
        bounds: least and largest value that the metric can have; infinite where there is none.
    Returns:
        Lower and upper ends; NaN where there is no interval.
    """
    mean, half_width = np.asarray(mean, dtype=np.float64), np.asarray(half_width, dtype=np.float64)
    low, high = bounds
    if np.isinf(low) and np.isinf(high):
        return mean - half_width, mean + half_width
    assert not np.isinf(low), "an upper bound alone"
    # A mean outside, or at a bound up to rounding, has no place on the scale.
    tiny = np.finfo(np.float64).tiny
    below = np.maximum(mean - low, tiny)
    if np.isinf(high):
        factor = np.exp(np.minimum(half_width / below, LARGEST_EXPONENT))
        return low + below / factor, low + below * factor
    above = np.maximum(high - mean, tiny)
    centre, shift = np.log(below / above), half_width / below * ((high - low) / above)
    return low + (high - low) * expit(centre - shift), low + (high - low) * expit(centre + shift)
