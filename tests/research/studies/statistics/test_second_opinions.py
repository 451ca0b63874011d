"""Almost stochastic order and the signed-rank test give known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from research.studies.statistics.second_opinions import order_stochastically, signed_rank_p

BASELINE = np.array([0.88, 0.91, 0.90, 0.92, 0.89])


def test_order_is_certain_if_all_values_are_larger() -> None:
    order = order_stochastically(BASELINE + 0.1, BASELINE)
    assert (order.violation_ratio, order.low, order.high) == (0, 0, 0)
    reversed_order = order_stochastically(BASELINE, BASELINE + 0.1)
    assert (reversed_order.violation_ratio, reversed_order.low, reversed_order.high) == (1, 1, 1)
    assert order_stochastically(BASELINE, BASELINE).violation_ratio == 0.5


def test_order_of_two_values_matches_a_computation_by_hand() -> None:
    # The quantiles differ by -1 and +2, so a share of 1 / (1 + 4) violates the order. Of the resamples of the arm, a
    # quarter are [0, 0] with a ratio of 1, half are [0, 3] with 0.2, and a quarter are [3, 3] with 0.
    order = order_stochastically(np.array([3.0, 0.0]), np.array([1.0, 1.0]), num_resamples=100_000)
    assert order.violation_ratio == pytest.approx(0.2)
    std = math.sqrt(0.25 * 1 + 0.5 * 0.2**2 - 0.35**2)
    assert order.high == pytest.approx(0.2 + 1.644854 * std, abs=0.01)
    assert order.low == 0


def test_order_of_normal_distributions_matches_the_closed_form() -> None:
    quantiles = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    difference, spread = 0.5, 1.0  # the quantile functions differ by 0.5 + 1.0 z
    order = order_stochastically(difference + (1 + spread) * quantiles, quantiles, num_resamples=2)
    c = -difference / spread
    below = (difference**2 + spread**2) * norm.cdf(c) - (2 * difference * spread + spread**2 * c) * norm.pdf(c)
    assert order.violation_ratio == pytest.approx(below / (difference**2 + spread**2), abs=0.001)


@pytest.mark.parametrize("seed", range(3))
def test_swapping_arm_and_baseline_mirrors_the_order(seed: int) -> None:
    arm, baseline = np.random.default_rng(seed).normal(size=(2, 8))
    order, swapped = order_stochastically(arm, baseline), order_stochastically(baseline, arm)
    assert order.violation_ratio == pytest.approx(1 - swapped.violation_ratio)
    assert order.low <= order.violation_ratio <= order.high
    assert order == order_stochastically(arm, baseline)


def test_signed_rank_test_matches_exact_probabilities() -> None:
    # With five differences of the same sign, only 2 of the 32 combinations of signs are as extreme.
    assert signed_rank_p(BASELINE + np.array([0.01, 0.02, 0.03, 0.04, 0.05]), BASELINE) == pytest.approx(2 / 32)
    assert signed_rank_p(BASELINE, BASELINE) == 1
    # The smallest difference has the other sign: 4 of the combinations are as extreme.
    assert signed_rank_p(BASELINE + np.array([-0.01, 0.02, 0.03, 0.04, 0.05]), BASELINE) == pytest.approx(4 / 32)


def test_signed_rank_test_ignores_rounding_errors() -> None:
    assert signed_rank_p(np.array([0.1 + 0.2] * 6), np.array([0.3] * 6)) == 1
