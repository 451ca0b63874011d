"""Confidence intervals stay within the range of a metric."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit

from research.studies.statistics.bounded import UNBOUNDED, bounded_interval
from research.studies.statistics.over_seeds import compare_arms, summarize_arm
from research.studies.units import Unit
from research.tasks.metric_names import metric_bounds


def test_bounded_interval_is_on_the_logit_scale() -> None:
    low, high = bounded_interval(0.9, half_width=0.05, bounds=(0.0, 1.0))
    slope = 1 / (0.9 * 0.1)  # of the logit function at 0.9
    assert (low, high) == pytest.approx((expit(logit(0.9) - 0.05 * slope), expit(logit(0.9) + 0.05 * slope)))


def test_interval_of_a_correlation_matches_fishers_z() -> None:
    low, high = bounded_interval(0.6, half_width=0.1, bounds=(-1.0, 1.0))
    slope = 1 / (1 - 0.6**2)  # of atanh at 0.6
    assert (low, high) == pytest.approx(
        (math.tanh(math.atanh(0.6) - 0.1 * slope), math.tanh(math.atanh(0.6) + 0.1 * slope))
    )


def test_interval_above_a_lower_bound_is_on_the_log_scale() -> None:
    low, high = bounded_interval(0.2, half_width=0.3, bounds=(0.0, math.inf))
    assert (low, high) == pytest.approx((0.2 * math.exp(-0.3 / 0.2), 0.2 * math.exp(0.3 / 0.2)))


def test_interval_without_bounds_is_students_t_interval() -> None:
    assert bounded_interval(0.2, half_width=0.3, bounds=UNBOUNDED) == pytest.approx((-0.1, 0.5))


def test_narrow_interval_is_close_to_students_t_interval() -> None:
    assert bounded_interval(0.85, half_width=0.01, bounds=(0.0, 1.0)) == pytest.approx((0.84, 0.86), abs=3e-4)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)])
def test_interval_stays_within_the_bounds_and_contains_the_mean(bounds: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    mean = bounds[0] + rng.uniform(1e-9, 1, 1000)  # within all bounds, whose ranges are at least 1
    low, high = bounded_interval(mean, half_width=10 ** rng.uniform(-9, 3, 1000), bounds=bounds)
    assert (bounds[0] <= low).all()
    assert (high <= bounds[1]).all()
    assert (low <= mean + 1e-12).all()
    assert (mean - 1e-12 <= high).all()


def test_undefined_half_width_gives_no_interval() -> None:
    assert np.isnan(bounded_interval(0.5, half_width=math.nan, bounds=(0.0, 1.0))).all()


def test_interval_of_accuracies_near_one_stays_below_one() -> None:
    values: dict[Unit, float] = {0: 1.0, 1: 0.93, 2: 0.98}
    t_interval = summarize_arm("lstm", values).interval
    interval = summarize_arm("lstm", values, metric_bounds("accuracy")).interval
    assert t_interval is not None
    assert interval is not None
    assert t_interval[1] > 1.03
    assert 0 < interval[0] < 0.97 < interval[1] < 1


def test_interval_of_a_difference_is_clipped_to_the_possible_range() -> None:
    arms: dict[str, dict[Unit, float]] = {"linear": {0: 0.0, 1: 1.0}, "lstm": {0: 1.0, 1: 0.9}}
    (comparison,) = compare_arms(arms, "linear", higher_is_better=True, bounds=(0.0, 1.0))
    assert comparison.interval == (-1.0, 1.0)
    assert comparison.p == compare_arms(arms, "linear", higher_is_better=True)[0].p
