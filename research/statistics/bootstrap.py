"""Percentile intervals from resampled rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

Floats = NDArray[np.floating[Any]]

CONFIDENCE = 0.95
"""Confidence level of intervals."""
_BATCH = 100
"""Number of resamples that are computed at once: for tens of thousands of rows, all of them would take gigabytes."""


def percentile_interval(
    samples: Sequence[NDArray[Any]], statistic: Callable[..., Floats], *, num_resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Return the percentile interval of a statistic over resampled rows, as its lower and upper bounds.

    Args:
        samples: values of the rows, each [num_rows]; all are resampled together.
        statistic: function of the resampled values, each [num_resamples, num_rows] with `axis=-1`, that returns
            [..., num_resamples].
        num_resamples: number of resamples of the rows.
        seed: seed of the resampling.
    """
    result = bootstrap(
        samples,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=num_resamples,
        batch=_BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(seed),  # scipy before 1.15 has no argument `rng`
    )
    low, high = result.confidence_interval
    return low, high
