"""Power analysis: how many seeds are needed to detect the difference between two arms."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from statsmodels.stats.power import TTestPower

from research.studies.statistics.paired_t import LEVEL, variance_factor

POWER = 0.8
"""Target power: probability of detecting the difference."""
MIN_SEEDS = 5
"""Minimum number of common seeds for a verdict; with folds, of common folds over all seeds."""
MAX_SEEDS = 1000
"""A difference that needs more seeds counts as out of reach."""


@dataclass(frozen=True)
class SeedsNeeded:
    """Number of seeds that detect a difference with 80% power, if the true difference and spread are as observed."""

    total: int | None
    """Total number of seeds, at least as many as a verdict requires; None if it is unknown or above MAX_SEEDS."""
    more: int | None
    """Number of additional seeds; None if `total` is None."""
    power: float | None
    """Probability that the test with `total` seeds detects the difference with the correct sign; None if `total` is
    None."""
    level: float
    """Significance level of the test: 5% / number of comparisons, which Holm's correction requires of the study's
    smallest p value."""
    description: str
    """The fields above in words, with the assumptions; or the reason why the number is unknown."""


def seeds_needed(
    mean_difference: float,
    std_difference: float,
    *,
    num_seeds: int,
    num_comparisons: int = 1,
    num_folds: int | None = None,
) -> SeedsNeeded:
    """Return how many seeds detect the difference between an arm and the baseline with 80% power.

    There are at least as many as a verdict requires.

    Args:
        mean_difference: observed mean of the paired differences.
        std_difference: standard deviation of the paired differences (n - 1), NaN if it is unknown.
        num_seeds: current number of common seeds.
        num_comparisons: number of comparisons in the study, which share the significance level of 5%.
        num_folds: number of folds of each seed; None if there are no folds.
    """
    level = LEVEL / num_comparisons
    if math.isnan(std_difference):
        return SeedsNeeded(None, None, None, level, "unknown: estimating the spread requires at least two common seeds")
    if mean_difference == 0:
        return SeedsNeeded(None, None, None, level, "unknown: the observed difference is 0")
    if std_difference == 0:
        return SeedsNeeded(None, None, None, level, "unknown: the difference is the same for all seeds")
    effect = abs(mean_difference) / std_difference
    assumption = f"assuming that the observed difference of {mean_difference:+.3g} and its spread are the true values"
    totals = range(-(-MIN_SEEDS // (num_folds or 1)), MAX_SEEDS + 1)  # the minimum is rounded up
    # The power grows with the number of seeds, so the first sufficient number can be found by bisection.
    first = bisect_left(totals, POWER, key=lambda total: _power(effect, total, level, num_folds))
    if first == len(totals):
        return SeedsNeeded(None, None, None, level, f"out of reach: more than {MAX_SEEDS:,} seeds, {assumption}")
    total = totals[first]
    more = max(0, total - num_seeds)
    description = (
        f"{total} in total ({more} more) to detect the difference with at least {POWER:.0%} power, {assumption}"
    )
    return SeedsNeeded(total, more, _power(effect, total, level, num_folds), level, description)


def _power(effect: float, num_seeds: int, level: float, num_folds: int | None) -> float:
    """Return the probability that the two-sided test detects an effect with the correct sign.

    The effect is given in standard deviations of the paired differences.
    """
    num_values = num_seeds * (num_folds or 1)
    effect /= math.sqrt(variance_factor(num_values, num_folds))
    power = float(TTestPower().power(effect, num_values, level / 2, alternative="larger"))
    return 1.0 if math.isnan(power) else power  # statsmodels returns NaN if the power is 1 up to rounding
