"""The number of seeds needed matches published tables and the noncentral t distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import nct, t

from research.studies.statistics.power import MAX_SEEDS, MIN_SEEDS, seeds_needed


def power(effect: float, num_seeds: int, level: float) -> float:
    """Return the probability that the paired t test finds a significant difference with the correct sign.

    Args:
        effect: true mean of the paired differences, in their standard deviations.
        num_seeds: number of pairs.
        level: significance level.
    """
    return float(nct.sf(t.isf(level / 2, num_seeds - 1), num_seeds - 1, effect * math.sqrt(num_seeds)))


@pytest.mark.parametrize(("effect", "total"), [(0.1, 787), (0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_match_published_tables(effect: float, total: int) -> None:
    """Compare with tables of the one-sample t test, for 80% power at the two-sided 5% level."""
    assert seeds_needed(mean_difference=0.02 * effect, std_difference=0.02, num_seeds=5).total == total


@pytest.mark.parametrize("num_comparisons", [1, 3, 9])
@pytest.mark.parametrize("effect", [0.15, 0.33, 0.7, 1.3])
def test_seeds_needed_are_the_minimum_for_the_power(effect: float, num_comparisons: int) -> None:
    needed = seeds_needed(-effect, 1.0, num_seeds=5, num_comparisons=num_comparisons)
    assert needed.level == pytest.approx(0.05 / num_comparisons)
    assert needed.total is not None
    assert needed.power is not None
    assert needed.power == pytest.approx(power(effect, needed.total, needed.level))
    assert needed.power >= 0.8 > power(effect, needed.total - 1, needed.level)
    assert needed.more == needed.total - 5


def test_seeds_needed_are_at_least_the_minimum_for_a_verdict() -> None:
    needed = seeds_needed(5.0, 1.0, num_seeds=8)
    assert (needed.total, needed.more) == (MIN_SEEDS, 0)
    assert needed.power == pytest.approx(power(5.0, MIN_SEEDS, 0.05))


def test_enormous_effects_need_the_minimum_number_of_seeds() -> None:
    for effect in np.geomspace(10, 1e9, 200):
        assert seeds_needed(effect, 1.0, num_seeds=0).total == MIN_SEEDS


def test_seeds_needed_with_folds_follow_the_corrected_test() -> None:
    needed = seeds_needed(1.6, 1.0, num_seeds=1, num_folds=5)
    assert needed.total is not None
    assert needed.power is not None

    def power_of(num_seeds: int) -> float:
        num_values = 5 * num_seeds
        return power(1.6 / math.sqrt(1 + num_values / 4), num_values, 0.05)

    assert needed.power == pytest.approx(power_of(needed.total))
    assert needed.power >= 0.8 > power_of(needed.total - 1)
    assert needed.more == needed.total - 1
    assert seeds_needed(9.0, 1.0, num_seeds=1, num_folds=5).total == 1
    # With ever more seeds, the variance of the mean approaches a quarter of that of the differences.
    assert seeds_needed(1.0, 1.0, num_seeds=1, num_folds=5).total is None


def test_difference_that_needs_too_many_seeds_is_out_of_reach() -> None:
    # Effects just above and just below the smallest one for which MAX_SEEDS are enough.
    assert power(0.0887, MAX_SEEDS, 0.05) > 0.8 > power(0.0885, MAX_SEEDS, 0.05)
    assert seeds_needed(0.0887, 1.0, num_seeds=5).total is not None
    needed = seeds_needed(0.0885, 1.0, num_seeds=5)
    assert (needed.total, needed.more, needed.power) == (None, None, None)
    assert f"{MAX_SEEDS:,}" in needed.description


def test_description_states_the_assumed_difference_and_the_numbers_of_seeds() -> None:
    description = seeds_needed(0.01, 0.01, num_seeds=4).description
    assert description.startswith("10 in total (6 more)")
    assert "+0.01" in description
    assert "+1e-09" in seeds_needed(1e-9, 1.0, num_seeds=4).description


@pytest.mark.parametrize(
    ("mean", "std", "reason"),
    [(0.1, math.nan, "two common seeds"), (0.0, 0.1, "difference is 0"), (0.1, 0.0, "the same")],
)
def test_unknown_number_of_seeds_has_a_reason(mean: float, std: float, reason: str) -> None:
    needed = seeds_needed(mean, std, num_seeds=2, num_comparisons=2)
    assert (needed.total, needed.more, needed.power, needed.level) == (None, None, None, 0.025)
    assert reason in needed.description
