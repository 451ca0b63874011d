"""Arms are summarized and compared over seeds, with intervals, tests and verdicts."""

from __future__ import annotations

import gc
import itertools
import math
import re
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from research.studies.statistics.over_seeds import Comparison, compare_arms, holm, summarize_arm
from research.studies.statistics.power import MIN_SEEDS
from research.studies.units import SeedAndFold, Unit

Values = dict[Unit, float]
"""The value of a metric for each seed of an arm."""
BASELINE: Values = {0: 0.88, 1: 0.91, 2: 0.91, 3: 0.92, 4: 0.90}
ARM: Values = {0: 0.90, 1: 0.92, 2: 0.91, 3: 0.95, 4: 0.93}
"""Better than the baseline by 0.018 on average, p = 0.037."""
NOISY_ARM: Values = {seed: value + noise for (seed, value), noise in zip(ARM.items(), itertools.cycle([0.05, -0.05]))}
"""Not significantly different from the baseline."""


@pytest.fixture(scope="module", autouse=True)
def fast_garbage_collection() -> Iterator[None]:
    """Exclude imported objects from the garbage collection that statsmodels runs at every correction."""
    gc.freeze()
    yield
    gc.unfreeze()


def compare(arm: Values, baseline: Values = BASELINE, *, higher_is_better: bool = True) -> Comparison:
    (comparison,) = compare_arms({"linear": baseline, "lstm": arm}, "linear", higher_is_better=higher_is_better)
    return comparison


def random_arms(num_arms: int, num_seeds: int, seed: int) -> dict[str, Values]:
    values = np.random.default_rng(seed).normal(size=(num_arms, num_seeds)) + np.linspace(0, 2, num_arms)[:, None]
    return {f"arm {i}": dict(enumerate(map(float, arm_values))) for i, arm_values in enumerate(values)}


def test_summary_equals_hand_computed_values() -> None:
    summary = summarize_arm("lstm", {3: 0.8, 1: 0.9, 2: 1.0})
    assert (summary.arm, summary.seeds, summary.undefined_seeds, summary.remark) == ("lstm", (1, 2, 3), (), "")
    assert summary.mean == pytest.approx(0.9)
    assert summary.std == pytest.approx(0.1)
    half_width = 4.3026527 * 0.1 / math.sqrt(3)  # 97.5% quantile of t with 2 degrees of freedom, from a table
    assert summary.interval == pytest.approx((0.9 - half_width, 0.9 + half_width))
    assert summary.interval == pytest.approx(t.interval(0.95, 2, loc=0.9, scale=0.1 / math.sqrt(3)))


def test_one_seed_has_no_interval() -> None:
    summary = summarize_arm("lstm", {7: 0.8})
    assert (summary.seeds, summary.mean, summary.std, summary.interval) == ((7,), 0.8, None, None)
    assert "one seed" in summary.remark


def test_equal_values_have_no_interval() -> None:
    summary = summarize_arm("lstm", {0: 0.8, 1: 0.8, 2: 0.8})
    assert summary.mean == pytest.approx(0.8)
    assert (summary.std, summary.interval) == (0, None)
    assert "same value" in summary.remark


def test_zero_is_a_valid_value() -> None:
    assert summarize_arm("lstm", {0: 0.0, 1: 0.0}).mean == 0


def test_undefined_seeds_are_excluded_from_the_summary_and_listed() -> None:
    summary = summarize_arm("lstm", {0: 0.8, 1: math.nan, 2: 0.9, 3: math.inf})
    assert (summary.seeds, summary.undefined_seeds) == ((0, 2), (1, 3))
    assert summary.mean == pytest.approx(0.85)
    assert "seeds 1, 3" in summary.remark


@pytest.mark.parametrize(("values", "remark"), [({}, "no value"), ({0: math.nan}, "number: seed 0; no value")])
def test_arm_without_values_has_a_remark(values: Values, remark: str) -> None:
    summary = summarize_arm("lstm", values)
    assert (summary.seeds, summary.mean, summary.std, summary.interval) == ((), None, None, None)
    assert summary.remark.endswith(remark)


def test_comparison_uses_the_paired_t_test() -> None:
    comparison = compare(ARM)
    test = ttest_rel(list(ARM.values()), list(BASELINE.values()))
    interval = test.confidence_interval(0.95)
    assert (comparison.arm, comparison.baseline, comparison.seeds) == ("lstm", "linear", (0, 1, 2, 3, 4))
    assert comparison.mean_difference == pytest.approx(0.018)
    assert comparison.std_difference == pytest.approx(math.sqrt(0.00068 / 4))  # sum of squared deviations
    assert comparison.interval == pytest.approx((interval.low, interval.high))
    assert comparison.p == comparison.p_holm == pytest.approx(test.pvalue)
    assert (comparison.verdict, comparison.why_no_verdict) == ("better", "")
    assert comparison.seeds_needed.level == 0.05
    assert comparison.seeds_needed.total == 7  # an effect size of 1.38
    assert comparison.seeds_needed.more == 2


def over_folds(values: list[float], num_folds: int = 5) -> Values:
    """Return values of the folds of seed 0, then of seed 1 and so on."""
    return {SeedAndFold(*divmod(index, num_folds)): value for index, value in enumerate(values)}


def test_comparison_over_folds_uses_the_corrected_resampled_t_test() -> None:
    differences = [0.01, 0.02, 0.03, 0.02, 0.02]
    arms = {"linear": over_folds([0.8] * 5), "lstm": over_folds([0.8 + each for each in differences])}
    (comparison,) = compare_arms(arms, "linear", higher_is_better=True, num_folds=5)
    # The mean is 0.02 and the variance 0.00005. Of a mean over 5 folds, the variance is (1/5 + 1/4) times that.
    error = math.sqrt(0.45 * 0.00005)
    assert comparison.p == pytest.approx(2 * t.sf(0.02 / error, 4))
    assert comparison.interval == pytest.approx(t.interval(0.95, 4, loc=0.02, scale=error))
    assert comparison.verdict == "better"
    (uncorrected,) = compare_arms(arms, "linear", higher_is_better=True)
    assert uncorrected.p is not None
    assert comparison.p is not None
    assert uncorrected.p < comparison.p
    assert summarize_arm("lstm", arms["lstm"], num_folds=5).interval == pytest.approx(
        t.interval(0.95, 4, loc=0.82, scale=error)
    )


def test_comparison_over_folds_of_several_seeds_counts_all_of_them() -> None:
    values = np.random.default_rng(0).normal(0.01, 0.02, size=15)
    arms = {"linear": over_folds([0.8] * 15), "lstm": over_folds([0.8 + float(each) for each in values])}
    (comparison,) = compare_arms(arms, "linear", higher_is_better=True, num_folds=5)
    statistic = values.mean() / math.sqrt((1 / 15 + 1 / 4) * values.var(ddof=1))
    assert comparison.p == pytest.approx(2 * t.sf(abs(statistic), 14))
    assert comparison.seeds_needed.total is None or comparison.seeds_needed.total > 3
    assert (comparison.seeds[0], comparison.seeds[-1]) == (SeedAndFold(0, 0), SeedAndFold(2, 4))


def test_comparison_over_folds_keeps_the_reasons_against_a_verdict() -> None:
    arms = {"linear": over_folds([0.8, 0.81, 0.8]), "lstm": over_folds([0.9, 0.92, 0.93])}
    (few,) = compare_arms(arms, "linear", higher_is_better=True, num_folds=5)
    assert few.why_no_verdict == f"a verdict requires at least {MIN_SEEDS} common folds (found 3)"
    complete = {"linear": over_folds([0.8] * 5), "lstm": over_folds([0.81, 0.82, 0.83, 0.84, math.nan])}
    failed = {"linear": [SeedAndFold(1, 2)]}
    (comparison,) = compare_arms(complete, "linear", higher_is_better=True, failed=failed, num_folds=5)
    assert comparison.verdict is None
    assert "seed 1 (fold 2) of linear failed" in comparison.why_no_verdict
    assert "seed 0 (fold 4) is not a finite number" in comparison.why_no_verdict


def test_seeds_are_paired_by_number_not_by_order() -> None:
    reordered = dict(reversed(ARM.items()))
    assert compare(reordered) == compare(ARM)


def test_verdict_depends_on_whether_higher_is_better() -> None:
    assert compare(ARM, higher_is_better=False).verdict == "worse"
    assert compare(BASELINE, ARM, higher_is_better=False).verdict == "better"
    assert compare(BASELINE, ARM).verdict == "worse"


def test_small_difference_is_not_significant() -> None:
    comparison = compare(NOISY_ARM)
    assert comparison.p is not None
    assert comparison.p > 0.05
    assert comparison.verdict == "no significant difference"


def test_verdict_uses_the_corrected_p_value() -> None:
    arms = {"linear": BASELINE, "lstm": ARM, "gru": NOISY_ARM}
    lstm, gru = compare_arms(arms, "linear", higher_is_better=True)
    assert lstm.p is not None
    assert lstm.p < 0.05
    assert lstm.p_holm == pytest.approx(2 * lstm.p)
    assert gru.p == gru.p_holm
    assert (lstm.verdict, gru.verdict) == ("no significant difference", "no significant difference")
    assert lstm.seeds_needed.level == 0.025


def test_fewer_than_five_seeds_have_an_interval_but_no_verdict() -> None:
    comparison = compare({seed: BASELINE[seed] + 0.3 + 0.001 * seed for seed in range(4)})
    assert comparison.p is not None
    assert comparison.p < 1e-5
    assert comparison.interval is not None
    assert comparison.verdict is None
    assert re.search(rf"{MIN_SEEDS} .*4", comparison.why_no_verdict)


@pytest.mark.parametrize("failed_arm", ["linear", "lstm"])
def test_failed_seed_of_either_arm_blocks_the_verdict(failed_arm: str) -> None:
    arms = {"linear": BASELINE, "lstm": ARM}
    (complete,) = compare_arms(arms, "linear", higher_is_better=True, failed={"linear": (), "lstm": ()})
    (comparison,) = compare_arms(arms, "linear", higher_is_better=True, failed={failed_arm: [7]})
    assert (complete.verdict, complete.failed_seeds) == ("better", ())
    assert (comparison.verdict, comparison.failed_seeds) == (None, (7,))
    assert f"seed 7 of {failed_arm} failed" in comparison.why_no_verdict
    assert (comparison.p, comparison.p_holm, comparison.interval) == (complete.p, complete.p_holm, complete.interval)


def test_failed_seed_does_not_affect_verdicts_of_other_arms() -> None:
    arms = {"linear": BASELINE, "lstm": ARM, "gru": NOISY_ARM}
    lstm, gru = compare_arms(arms, "linear", higher_is_better=True, failed={"lstm": [7]})
    assert lstm.verdict is None
    assert gru.verdict == "no significant difference"


def test_single_common_seed_has_only_a_difference() -> None:
    comparison = compare({3: 0.95, 8: 0.90})
    assert (comparison.seeds, comparison.seeds_of_arm_only, comparison.seeds_of_baseline_only) == (
        (3,),
        (8,),
        (0, 1, 2, 4),
    )
    assert comparison.mean_difference == pytest.approx(0.03)
    assert (comparison.std_difference, comparison.interval, comparison.p, comparison.p_holm) == (None, None, None, None)
    assert comparison.seeds_needed.total is None


@pytest.mark.parametrize("arm", [{}, {9: 0.9}, {0: math.nan}])
def test_arm_without_values_in_common_with_the_baseline_has_no_verdict(arm: Values) -> None:
    comparison = compare(arm)
    assert (comparison.seeds, comparison.mean_difference, comparison.p, comparison.verdict) == ((), None, None, None)
    assert comparison.why_no_verdict.endswith("(found 0)")


def test_seeds_that_only_one_arm_has_are_named_and_excluded() -> None:
    comparison = compare({**ARM, 9: 0.1}, {**BASELINE, 7: 0.2})
    assert (comparison.seeds_of_arm_only, comparison.seeds_of_baseline_only) == ((9,), (7,))
    assert comparison.mean_difference == pytest.approx(0.018)


@pytest.mark.parametrize("is_in_arm", [True, False])
def test_undefined_value_of_either_arm_blocks_the_verdict(is_in_arm: bool) -> None:
    values = (math.nan, 0.9) if is_in_arm else (0.9, math.nan)
    comparison = compare({**ARM, 5: values[0]}, {**BASELINE, 5: values[1]})
    assert (comparison.seeds, comparison.undefined_seeds) == ((0, 1, 2, 3, 4), (5,))
    assert comparison.p == compare(ARM).p
    assert comparison.verdict is None
    assert "seed 5" in comparison.why_no_verdict


def test_identical_arms_do_not_differ_significantly() -> None:
    comparison = compare(dict(BASELINE))
    assert (comparison.mean_difference, comparison.std_difference, comparison.p, comparison.p_holm) == (0, 0, 1, 1)
    assert comparison.interval is None
    assert comparison.verdict == "no significant difference"


def test_constant_difference_gets_no_verdict() -> None:
    comparison = compare({seed: value + 0.01 for seed, value in BASELINE.items()})
    assert comparison.mean_difference == pytest.approx(0.01)
    assert (comparison.std_difference, comparison.interval, comparison.p, comparison.p_holm, comparison.verdict) == (
        0,
        None,
        None,
        None,
        None,
    )
    assert "t would be infinite" in comparison.why_no_verdict


def test_unknown_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match=r"linear, lstm.*baseline.*'gru'"):
        compare_arms({"linear": BASELINE, "lstm": ARM}, "gru", higher_is_better=True)


def test_baseline_alone_has_no_comparisons() -> None:
    assert compare_arms({"linear": BASELINE}, "linear", higher_is_better=True) == []


def test_holm_equals_hand_computed_values() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == pytest.approx([0.04])
    assert holm([]) == []


def test_holm_counts_comparisons_without_a_test() -> None:
    corrected = holm([0.01, math.nan, 0.03])
    assert [corrected[0], corrected[2]] == pytest.approx([0.03, 0.06])
    assert math.isnan(corrected[1])


@pytest.mark.parametrize("seed", range(5))
def test_holm_keeps_the_order_and_never_lowers_p(seed: int) -> None:
    p = np.random.default_rng(seed).random(6) ** 3
    corrected = holm(list(p))
    assert all(corrected >= p)
    assert max(corrected) <= 1
    assert min(corrected) == pytest.approx(min(1, 6 * min(p)))
    for (first_p, first_corrected), (second_p, second_corrected) in itertools.permutations(
        zip(p, corrected, strict=True), 2
    ):
        assert first_corrected <= second_corrected or first_p > second_p


@pytest.mark.parametrize("seed", range(5))
def test_swapping_the_arms_reverses_the_comparison(seed: int) -> None:
    arms = random_arms(num_arms=2, num_seeds=6, seed=seed)
    (original,) = compare_arms(arms, "arm 0", higher_is_better=True)
    (swapped,) = compare_arms(arms, "arm 1", higher_is_better=True)
    assert original.mean_difference == pytest.approx(-(swapped.mean_difference or 0))
    assert original.p == pytest.approx(swapped.p)
    assert original.interval is not None
    assert swapped.interval is not None
    assert original.interval == pytest.approx((-swapped.interval[1], -swapped.interval[0]))
    opposite = {"better": "worse", "worse": "better", "no significant difference": "no significant difference"}
    assert swapped.verdict == opposite[str(original.verdict)]


@pytest.mark.parametrize("seed", range(5))
def test_constant_added_to_all_arms_changes_nothing(seed: int) -> None:
    arms = random_arms(num_arms=4, num_seeds=6, seed=seed)
    shifted = {arm: {key: value + 10 for key, value in values.items()} for arm, values in arms.items()}
    for original, moved in zip(
        *(compare_arms(values, "arm 0", higher_is_better=True) for values in (arms, shifted)), strict=True
    ):
        assert original.mean_difference == pytest.approx(moved.mean_difference)
        assert original.interval == pytest.approx(moved.interval)
        assert original.p_holm == pytest.approx(moved.p_holm)
        assert (original.verdict, original.seeds_needed.total) == (moved.verdict, moved.seeds_needed.total)
