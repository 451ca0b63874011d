"""The paired t test matches formulas and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from research.studies.statistics.paired_t import paired_t

ARM = np.array([0.90, 0.92, 0.91, 0.95, 0.93])
BASELINE = np.array([0.88, 0.91, 0.91, 0.92, 0.90])


def test_paired_t_equals_hand_computed_values() -> None:
    result = paired_t(ARM, BASELINE)
    # The differences are 0.02, 0.01, 0, 0.03, 0.03; their squared deviations from the mean 0.018 sum to 0.00068.
    std = math.sqrt(0.00068 / 4)
    half_width = 2.7764451 * std / math.sqrt(5)  # 97.5% quantile of t with 4 degrees of freedom, from a table
    assert float(result.mean) == pytest.approx(0.018)
    assert float(result.std) == pytest.approx(std)
    assert (float(result.low), float(result.high)) == pytest.approx((0.018 - half_width, 0.018 + half_width))
    assert float(result.p) == pytest.approx(2 * t.sf(0.018 / (std / math.sqrt(5)), 4))
    assert float(result.p) == pytest.approx(ttest_rel(ARM, BASELINE).pvalue)


def test_many_arms_in_one_call_match_single_tests() -> None:
    rng = np.random.default_rng(0)
    arms, baseline = rng.normal(size=(4, 3, 6)), rng.normal(size=(4, 1, 6))
    result = paired_t(arms, baseline)
    for i in range(4):
        for j in range(3):
            expected = ttest_rel(arms[i, j], baseline[i, 0])
            interval = expected.confidence_interval(0.95)
            assert result.p[i, j] == pytest.approx(expected.pvalue)
            assert (result.low[i, j], result.high[i, j]) == pytest.approx((interval.low, interval.high))


def test_equal_values_have_p_value_one() -> None:
    result = paired_t(ARM, ARM.copy())
    assert (float(result.mean), float(result.std), float(result.p)) == (0, 0, 1)
    assert math.isnan(result.low)
    assert math.isnan(result.high)


def test_values_equal_up_to_rounding_have_p_value_one() -> None:
    sums = np.array([0.1 + 0.2, 0.1 + 0.7, 0.3])
    values = np.array([0.3, 0.8, 0.3])
    assert (sums != values).any()
    result = paired_t(sums, values)
    assert (float(result.mean), float(result.std), float(result.p)) == (0, 0, 1)


@pytest.mark.parametrize("shift", [0.013, -1e-6])
def test_constant_difference_has_no_p_value(shift: float) -> None:
    values = np.array([0.1, 0.3, 0.55, 0.9])
    assert len(set(values + shift - values)) > 1  # rounding makes the differences unequal
    result = paired_t(values + shift, values)
    assert float(result.mean) == pytest.approx(shift)
    assert float(result.std) == 0
    assert np.isnan([result.low, result.high, result.p]).all()


def test_single_seed_has_only_a_difference() -> None:
    result = paired_t(np.array([0.9]), np.array([0.8]))
    assert float(result.mean) == pytest.approx(0.1)
    assert np.isnan([result.std, result.low, result.high, result.p]).all()


def test_arm_with_a_constant_difference_does_not_affect_the_tests_of_other_arms() -> None:
    result = paired_t(np.stack([ARM, ARM, BASELINE + 0.01]), BASELINE)
    assert result.p[0] == result.p[1] == pytest.approx(ttest_rel(ARM, BASELINE).pvalue)
    assert math.isnan(result.p[2])


@pytest.mark.parametrize("seed", range(5))
def test_swapping_arms_flips_the_sign_and_a_common_constant_has_no_effect(seed: int) -> None:
    arm, baseline = np.random.default_rng(seed).normal(size=(2, 5 + seed))
    result, swapped, shifted = paired_t(arm, baseline), paired_t(baseline, arm), paired_t(arm + 7, baseline + 7)
    assert (float(swapped.mean), float(swapped.low), float(swapped.high)) == pytest.approx(
        (-float(result.mean), -float(result.high), -float(result.low))
    )
    assert float(swapped.p) == pytest.approx(float(result.p))
    for name in ("mean", "std", "low", "high", "p"):
        assert float(getattr(shifted, name)) == pytest.approx(float(getattr(result, name)))
