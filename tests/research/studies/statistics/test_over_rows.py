"""Comparisons of models over rows match counts and formulas computed by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import chi2

from research.studies.statistics.over_rows import SCOPE, bootstrap_rows, compare_models, compare_over_rows


def correct_rows(
    *, num_both: int, num_arm_only: int, num_baseline_only: int, num_neither: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows two models predict correctly, given the number of rows of each kind."""
    numbers = [num_both, num_arm_only, num_baseline_only, num_neither]
    return np.repeat([True, True, False, False], numbers), np.repeat([True, False, True, False], numbers)


def test_few_discordant_rows_use_the_exact_test() -> None:
    comparison = compare_models(*correct_rows(num_both=10, num_arm_only=5, num_baseline_only=1, num_neither=4))
    assert (comparison.num_arm_only, comparison.num_baseline_only, comparison.exact) == (5, 1, True)
    assert comparison.p == pytest.approx(2 * (1 + 6) / 2**6)  # two-sided: 0 or 1, or 5 or 6 of six coin flips


def test_many_discordant_rows_use_chi_squared() -> None:
    comparison = compare_models(*correct_rows(num_both=10, num_arm_only=30, num_baseline_only=12, num_neither=4))
    assert (comparison.num_arm_only, comparison.num_baseline_only, comparison.exact) == (30, 12, False)
    assert comparison.p == pytest.approx(chi2.sf((30 - 12 - 1) ** 2 / 42, 1))


@pytest.mark.parametrize(("num_discordant", "exact"), [(24, True), (25, False)])
def test_exact_test_is_used_below_25_discordant_rows(num_discordant: int, exact: bool) -> None:
    rows = correct_rows(num_both=0, num_arm_only=num_discordant - 3, num_baseline_only=3, num_neither=9)
    assert compare_models(*rows).exact is exact


def test_concordant_rows_do_not_count() -> None:
    few, many = (
        compare_models(*correct_rows(num_both=both, num_arm_only=5, num_baseline_only=1, num_neither=neither))
        for both, neither in ((0, 0), (500, 400))
    )
    assert few.p == many.p


def test_models_with_the_same_errors_have_p_value_one() -> None:
    comparison = compare_models(*correct_rows(num_both=10, num_arm_only=0, num_baseline_only=0, num_neither=4))
    assert (comparison.p, comparison.exact) == (1, True)


def test_bootstrap_resamples_the_same_rows_for_both_models() -> None:
    correctness = np.random.default_rng(0).normal(size=50)
    bootstrap = bootstrap_rows([correctness + 0.5], [correctness])
    assert bootstrap.difference == pytest.approx(0.5)
    assert bootstrap.interval == pytest.approx((0.5, 0.5))  # an unpaired interval would be wide


def test_bootstrap_is_close_to_the_normal_interval_for_many_rows() -> None:
    rng = np.random.default_rng(0)
    # Three models of the arm and three of the baseline, with accuracies of about 0.8 and 0.75.
    arm, baseline = rng.random((2, 3, 4000)) < np.array([0.8, 0.75])[:, None, None]
    bootstrap = bootstrap_rows(list(arm), list(baseline))
    differences = arm.mean(axis=0) - baseline.mean(axis=0)
    half_width = 1.96 * differences.std(ddof=1) / math.sqrt(4000)
    assert bootstrap.num_rows == 4000
    assert bootstrap.difference == pytest.approx(arm.mean() - baseline.mean())
    assert bootstrap.interval == pytest.approx(
        (bootstrap.difference - half_width, bootstrap.difference + half_width), abs=0.1 * half_width
    )


def test_bootstrap_is_deterministic() -> None:
    arm, baseline = np.random.default_rng(0).normal(size=(2, 40))
    assert bootstrap_rows([arm], [baseline]) == bootstrap_rows([arm], [baseline])
    assert bootstrap_rows([arm], [baseline]) != bootstrap_rows([arm], [baseline], seed=1)


def test_swapping_the_models_mirrors_the_interval_about_zero() -> None:
    arm, baseline = np.random.default_rng(0).normal(size=(2, 40))
    original, swapped = bootstrap_rows([arm], [baseline]), bootstrap_rows([baseline], [arm])
    assert original.interval == pytest.approx((-swapped.interval[1], -swapped.interval[0]))


def test_arms_are_compared_on_common_seeds() -> None:
    rng = np.random.default_rng(0)
    arm, baseline = ({seed: rng.random(30) < 0.7 for seed in seeds} for seeds in ((2, 0, 1), (1, 2, 3)))
    comparison = compare_over_rows(arm, baseline)
    assert comparison.seeds == (1, 2)
    assert comparison.by_seed == {seed: compare_models(arm[seed], baseline[seed]) for seed in (1, 2)}
    assert comparison.over_all_seeds == bootstrap_rows([arm[1], arm[2]], [baseline[1], baseline[2]])


def test_every_result_states_its_scope_and_has_no_verdict() -> None:
    comparison = compare_over_rows({0: np.array([True, False])}, {0: np.array([True, True])})
    assert (
        comparison.scope
        == comparison.over_all_seeds.scope
        == comparison.by_seed[0].scope
        == SCOPE
        == "these trained models only"
    )
    # Verdicts are about arms, which a test over rows cannot compare.
    assert not any("verdict" in field.name for field in dataclasses.fields(comparison))


def test_different_numbers_of_rows_and_no_common_seed_are_refused() -> None:
    two, three = np.array([True, False]), np.array([True, False, True])
    with pytest.raises(ValueError, match=r"\[2, 3\] rows"):
        compare_models(two, three)
    with pytest.raises(ValueError, match=r"got \[2, 2, 3\] rows"):
        bootstrap_rows([two, two], [three])
    with pytest.raises(ValueError, match=r"\[0, 1\].*\[2\]"):
        compare_over_rows({1: two, 0: two}, {2: two})
