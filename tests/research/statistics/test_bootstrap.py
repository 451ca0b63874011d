"""Percentile intervals over resampled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from research.statistics.bootstrap import percentile_interval


def mean_and_maximum(values: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Return two statistics of each resample, [2, num_resamples]."""
    return np.array([values.mean(axis=axis), values.max(axis=axis)])


def test_percentile_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = percentile_interval([values], mean_and_maximum, num_resamples=2000, seed=0)
    half_width = 1.96 * values.std() / np.sqrt(len(values))
    assert low[0] == pytest.approx(values.mean() - half_width, abs=0.01)
    assert high[0] == pytest.approx(values.mean() + half_width, abs=0.01)
    assert high[1] == values.max()


def test_percentile_interval_depends_only_on_the_seed() -> None:
    values = np.random.default_rng(0).normal(size=50)
    results = [
        np.array(percentile_interval([values], mean_and_maximum, num_resamples=150, seed=seed)) for seed in (0, 0, 1)
    ]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
