"""Arms over seeds: means, intervals, tests and verdicts."""

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

Values = dict[int, float]
BASELINE: Values = {0: 0.88, 1: 0.91, 2: 0.91, 3: 0.92, 4: 0.90}
ARM: Values = {0: 0.90, 1: 0.92, 2: 0.91, 3: 0.95, 4: 0.93}  # better by 0.018 on average, p = 0.037


@pytest.fixture(scope="module", autouse=True)
def fast_garbage_collection() -> Iterator[None]:
    """Exclude imported objects from the garbage collection that statsmodels runs at every correction."""
    gc.freeze()
    yield
    gc.unfreeze()


def compare(arm: Values, baseline: Values = BASELINE, *, higher_is_better: bool = True) -> Comparison:
    (found,) = compare_arms({"linear": baseline, "lstm": arm}, "linear", higher_is_better=higher_is_better)
    return found


def random_arms(num_arms: int, num_seeds: int, seed: int) -> dict[str, Values]:
    values = np.random.default_rng(seed).normal(size=(num_arms, num_seeds)) + np.linspace(0, 2, num_arms)[:, None]
    return {f"arm {i}": dict(enumerate(map(float, each))) for i, each in enumerate(values)}


def test_summary_by_hand() -> None:
    found = summarize_arm("lstm", {3: 0.8, 1: 0.9, 2: 1.0})
    assert (found.arm, found.seeds, found.undefined_seeds, found.remark) == ("lstm", (1, 2, 3), (), "")
    assert found.mean == pytest.approx(0.9)
    assert found.std == pytest.approx(0.1)
    half = 4.3026527 * 0.1 / math.sqrt(3)  # 97.5% quantile of t with 2 degrees of freedom, from a table
    assert found.interval == pytest.approx((0.9 - half, 0.9 + half))
    assert found.interval == pytest.approx(t.interval(0.95, 2, loc=0.9, scale=0.1 / math.sqrt(3)))


def test_one_seed_has_no_interval() -> None:
    found = summarize_arm("lstm", {7: 0.8})
    assert (found.seeds, found.mean, found.std, found.interval) == ((7,), 0.8, None, None)
    assert "one seed" in found.remark


def test_equal_values_have_no_interval() -> None:
    found = summarize_arm("lstm", {0: 0.8, 1: 0.8, 2: 0.8})
    assert found.mean == pytest.approx(0.8)
    assert (found.std, found.interval) == (0, None)
    assert "same value" in found.remark


def test_zero_is_a_valid_value() -> None:
    assert summarize_arm("lstm", {0: 0.0, 1: 0.0}).mean == 0


def test_summary_names_undefined_seeds() -> None:
    found = summarize_arm("lstm", {0: 0.8, 1: math.nan, 2: 0.9, 3: math.inf})
    assert (found.seeds, found.undefined_seeds) == ((0, 2), (1, 3))
    assert found.mean == pytest.approx(0.85)
    assert "seeds 1, 3" in found.remark


@pytest.mark.parametrize(("values", "remark"), [({}, "no value"), ({0: math.nan}, "number: seed 0; no value")])
def test_arm_without_values_has_a_remark(values: Values, remark: str) -> None:
    found = summarize_arm("lstm", values)
    assert (found.seeds, found.mean, found.std, found.interval) == ((), None, None, None)
    assert found.remark.endswith(remark)


def test_comparison_uses_the_paired_t_test() -> None:
    found = compare(ARM)
    test = ttest_rel(list(ARM.values()), list(BASELINE.values()))
    interval = test.confidence_interval(0.95)
    assert (found.arm, found.baseline, found.seeds) == ("lstm", "linear", (0, 1, 2, 3, 4))
    assert found.mean_difference == pytest.approx(0.018)
    assert found.std_difference == pytest.approx(math.sqrt(0.00068 / 4))
    assert found.interval == pytest.approx((interval.low, interval.high))
    assert found.p == found.p_holm == pytest.approx(test.pvalue)
    assert (found.verdict, found.why_no_verdict) == ("better", "")
    assert found.needed.level == 0.05
    assert found.needed.total == 7  # an effect size of 1.38
    assert found.needed.more == 2


def test_seeds_are_paired_by_number_not_by_order() -> None:
    reordered = dict(reversed(ARM.items()))
    assert compare(reordered) == compare(ARM)


def test_lower_is_better_for_errors() -> None:
    assert compare(ARM, higher_is_better=False).verdict == "worse"
    assert compare(BASELINE, ARM, higher_is_better=False).verdict == "better"
    assert compare(BASELINE, ARM).verdict == "worse"


def test_small_difference_is_not_significant() -> None:
    noisy = {seed: value + 0.05 * (-1) ** seed for seed, value in ARM.items()}
    found = compare(noisy)
    assert found.p is not None
    assert found.p > 0.05
    assert found.verdict == "no significant difference"


def test_verdict_uses_the_corrected_p_value() -> None:
    arms = {"linear": BASELINE, "lstm": ARM, "gru": {seed: value + 0.05 * (-1) ** seed for seed, value in ARM.items()}}
    lstm, gru = compare_arms(arms, "linear", higher_is_better=True)
    assert lstm.p is not None
    assert lstm.p < 0.05
    assert lstm.p_holm == pytest.approx(2 * lstm.p)
    assert gru.p == gru.p_holm
    assert (lstm.verdict, gru.verdict) == ("no significant difference", "no significant difference")
    assert lstm.needed.level == 0.025


def test_fewer_than_five_seeds_have_an_interval_but_no_verdict() -> None:
    found = compare({seed: BASELINE[seed] + 0.3 + 0.001 * seed for seed in range(4)})
    assert found.p is not None
    assert found.p < 1e-5
    assert found.interval is not None
    assert found.verdict is None
    assert re.search(rf"{MIN_SEEDS} .*4", found.why_no_verdict)


@pytest.mark.parametrize("failed_arm", ["linear", "lstm"])
def test_failed_seed_of_either_arm_blocks_the_verdict(failed_arm: str) -> None:
    arms = {"linear": BASELINE, "lstm": ARM}
    (complete,) = compare_arms(arms, "linear", higher_is_better=True, failed={"linear": (), "lstm": ()})
    (found,) = compare_arms(arms, "linear", higher_is_better=True, failed={failed_arm: [7]})
    assert (complete.verdict, complete.failed_seeds) == ("better", ())
    assert (found.verdict, found.failed_seeds) == (None, (7,))
    assert f"seed 7 of {failed_arm} failed" in found.why_no_verdict
    assert (found.p, found.p_holm, found.interval) == (complete.p, complete.p_holm, complete.interval)


def test_failed_seed_does_not_affect_verdicts_of_other_arms() -> None:
    arms = {"linear": BASELINE, "lstm": ARM, "gru": {seed: value + 0.05 * (-1) ** seed for seed, value in ARM.items()}}
    lstm, gru = compare_arms(arms, "linear", higher_is_better=True, failed={"lstm": [7]})
    assert lstm.verdict is None
    assert gru.verdict == "no significant difference"


def test_single_common_seed_has_only_a_difference() -> None:
    found = compare({3: 0.95, 8: 0.90})
    assert (found.seeds, found.seeds_of_arm_only, found.seeds_of_baseline_only) == ((3,), (8,), (0, 1, 2, 4))
    assert found.mean_difference == pytest.approx(0.03)
    assert (found.std_difference, found.interval, found.p, found.p_holm) == (None, None, None, None)
    assert found.needed.total is None


@pytest.mark.parametrize("arm", [{}, {9: 0.9}, {0: math.nan}])
def test_missing_common_values_are_the_reason_for_no_verdict(arm: Values) -> None:
    found = compare(arm)
    assert (found.seeds, found.mean_difference, found.p, found.verdict) == ((), None, None, None)
    assert found.why_no_verdict.endswith("(found 0)")


def test_seeds_of_a_single_arm_are_named_and_excluded() -> None:
    found = compare({**ARM, 9: 0.1}, {**BASELINE, 7: 0.2})
    assert (found.seeds_of_arm_only, found.seeds_of_baseline_only) == ((9,), (7,))
    assert found.mean_difference == pytest.approx(0.018)


@pytest.mark.parametrize("of_arm", [True, False])
def test_undefined_value_blocks_the_verdict(of_arm: bool) -> None:
    values = (math.nan, 0.9) if of_arm else (0.9, math.nan)
    found = compare({**ARM, 5: values[0]}, {**BASELINE, 5: values[1]})
    assert (found.seeds, found.undefined_seeds) == ((0, 1, 2, 3, 4), (5,))
    assert found.p == compare(ARM).p
    assert found.verdict is None
    assert "seed 5" in found.why_no_verdict


def test_identical_arms_do_not_differ_significantly() -> None:
    found = compare(dict(BASELINE))
    assert (found.mean_difference, found.std_difference, found.p, found.p_holm) == (0, 0, 1, 1)
    assert found.interval is None
    assert found.verdict == "no significant difference"


def test_constant_difference_gets_no_verdict() -> None:
    found = compare({seed: value + 0.01 for seed, value in BASELINE.items()})
    assert found.mean_difference == pytest.approx(0.01)
    assert (found.std_difference, found.interval, found.p, found.p_holm, found.verdict) == (0, None, None, None, None)
    assert "t would be infinite" in found.why_no_verdict


def test_unknown_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match=r"linear, lstm.*baseline.*'gru'"):
        compare_arms({"linear": BASELINE, "lstm": ARM}, "gru", higher_is_better=True)


def test_baseline_alone_has_no_comparisons() -> None:
    assert compare_arms({"linear": BASELINE}, "linear", higher_is_better=True) == []


def test_holm_by_hand() -> None:
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
    for (p_one, one), (p_other, other) in itertools.permutations(zip(p, corrected, strict=True), 2):
        assert one <= other or p_one > p_other


@pytest.mark.parametrize("seed", range(5))
def test_swapping_arms_swaps_the_verdict(seed: int) -> None:
    arms = random_arms(2, 6, seed)
    (forward,) = compare_arms(arms, "arm 0", higher_is_better=True)
    (backward,) = compare_arms(arms, "arm 1", higher_is_better=True)
    assert forward.mean_difference == pytest.approx(-(backward.mean_difference or 0))
    assert forward.p == pytest.approx(backward.p)
    assert (forward.interval, backward.interval) != (None, None)
    opposite = {"better": "worse", "worse": "better", "no significant difference": "no significant difference"}
    assert backward.verdict == opposite[str(forward.verdict)]


@pytest.mark.parametrize("seed", range(5))
def test_constant_added_to_all_arms_changes_nothing(seed: int) -> None:
    arms = random_arms(4, 6, seed)
    shifted = {arm: {key: value + 10 for key, value in values.items()} for arm, values in arms.items()}
    for one, other in zip(
        *(compare_arms(each, "arm 0", higher_is_better=True) for each in (arms, shifted)), strict=True
    ):
        assert one.mean_difference == pytest.approx(other.mean_difference)
        assert one.interval == pytest.approx(other.interval)
        assert one.p_holm == pytest.approx(other.p_holm)
        assert (one.verdict, one.needed.total) == (other.verdict, other.needed.total)
