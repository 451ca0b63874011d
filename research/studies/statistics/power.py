"""How many seeds would tell two arms apart."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from statsmodels.stats.power import TTestPower

from research.studies.statistics.paired_t import LEVEL

POWER = 0.8
"""Chance of finding a difference that is promised."""
MIN_SEEDS = 5
"""Common seeds below which there is no verdict."""
MAX_SEEDS = 1000
"""Seeds beyond which a difference counts as out of reach."""


@dataclass(frozen=True)
class SeedsNeeded:
    """Seeds that find a difference with 80% power, if the observed difference and spread are the true ones."""

    total: int | None
    """In all; None if that is unknown, or more than 1,000."""
    more: int | None
    """Beyond those there are; None as above."""
    power: float | None
    """Chance that the test finds the difference, in its direction, with `total` seeds; None as above."""
    level: float
    """p value that counts: what the Holm correction asks of the smallest p in the study, 5% / number of comparisons."""
    words: str
    """All of this for a reader, with what it takes for granted; or why it is unknown."""


def seeds_needed(
    mean_difference: float, std_difference: float, *, num_seeds: int, num_comparisons: int = 1
) -> SeedsNeeded:
    """Return how many seeds would tell an arm from the baseline with 80% power, at least five.

    Args:
        mean_difference: observed mean of the paired differences.
        std_difference: their standard deviation (n - 1); NaN if it is unknown.
        num_seeds: common seeds there are.
        num_comparisons: comparisons of the study, which share the level of 5%.
    """
    level = LEVEL / num_comparisons
    if math.isnan(std_difference):
        return SeedsNeeded(None, None, None, level, "unknown: it takes the spread of two common seeds or more")
    if mean_difference == 0:
        return SeedsNeeded(None, None, None, level, "unknown: there is no observed difference to find")
    if std_difference == 0:
        return SeedsNeeded(None, None, None, level, "unknown: the difference was the same for all seeds")
    effect = abs(mean_difference) / std_difference
    assumption = f"if the observed difference of {mean_difference:+.3g} and its spread are the true ones"
    totals = range(MIN_SEEDS, MAX_SEEDS + 1)
    first = bisect_left(totals, POWER, key=lambda total: _power(effect, total, level))
    if first == len(totals):
        return SeedsNeeded(None, None, None, level, f"not within reach: more than {MAX_SEEDS:,} seeds, {assumption}")
    total = totals[first]
    more = max(0, total - num_seeds)
    words = f"{total} seeds in all, {more} more, would find it with {POWER:.0%} power or better, {assumption}"
    return SeedsNeeded(total, more, _power(effect, total, level), level, words)


def _power(effect: float, num_seeds: int, level: float) -> float:
    """Return the chance that the two-sided test finds an effect, in standard deviations, in its direction."""
    power = float(TTestPower().power(effect, num_seeds, level / 2, alternative="larger"))
    return 1.0 if math.isnan(power) else power  # NaN is what comes where it is 1 to many places
