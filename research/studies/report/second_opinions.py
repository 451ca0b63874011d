"""Second opinions on the arms of a study, and comparisons.csv with all tests for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research.studies.report.ranking import RankedArm
from research.studies.statistics.second_opinions import StochasticOrder, order_stochastically, signed_rank_p
from research.system.plain_text import for_csv

COMPARISONS = "comparisons.csv"
"""Name of the file."""
EXPLANATION = (
    "These tests do not affect the verdicts and the ranking. They are made where there is a verdict, and are not "
    "corrected for the number of comparisons."
)
"""What is common to all second opinions."""
FOLDS_WARNING = (
    "Neither test takes into account that the training rows of the folds overlap, so they find differences too often."
)
"""What readers must know if there are folds."""
SIGNED_RANK_EXPLANATION = (
    "Wilcoxon signed-rank test: p is small if the differences of one sign are larger and more numerous than chance "
    "would explain, however the differences are distributed; with five differences it is never below 0.0625."
)
ORDER_EXPLANATION = (
    "Almost stochastic order: the violation ratio is 0 if the arm's values, ordered by size, are all better than the "
    "baseline's, and 1 if they are all worse; the bounds hold with a confidence of 95% each, so that an upper bound "
    "below 0.5 speaks for the arm, and a lower bound above 0.5 for the baseline (Dror et al. 2019)."
)


@dataclass(frozen=True)
class SecondOpinion:
    """Further tests of one arm against the baseline."""

    arm: str
    """Name of the arm."""
    signed_rank_p: float
    """p value of the Wilcoxon signed-rank test, not corrected."""
    order: StochasticOrder
    """Almost stochastic order; lower ratios are better for the arm."""


def find_second_opinions(ranked: Sequence[RankedArm], *, higher_is_better: bool) -> list[SecondOpinion]:
    """Return the second opinions on all arms with a verdict, in the order of the ranking.

    Args:
        ranked: the arms, with the baseline.
        higher_is_better: whether higher values of the metric are better.
    """
    sign = 1 if higher_is_better else -1
    values_by_arm = {each.arm: each.values for each in ranked}
    opinions = []
    for each in ranked:
        comparison = each.comparison
        if comparison is not None and comparison.verdict is not None:
            arm_values, baseline_values = (
                sign * np.array([values_by_arm[arm][unit] for unit in comparison.seeds])
                for arm in (each.arm, comparison.baseline)
            )
            order = order_stochastically(arm_values, baseline_values)
            opinions.append(SecondOpinion(each.arm, signed_rank_p(arm_values, baseline_values), order))
    return opinions


def comparisons_csv(ranked: Sequence[RankedArm], opinions: Sequence[SecondOpinion], units: str) -> str:
    """Return comparisons.csv, with one row for each arm except the baseline, in the order of the ranking.

    Args:
        ranked: the arms, with the baseline.
        opinions: the second opinions.
        units: what pairs the trials, seeds or folds.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    opinion_by_arm = {each.arm: each for each in opinions}
    for each in ranked:
        comparison = each.comparison
        if comparison is None:
            continue
        low, high = comparison.interval or (None, None)
        row = {
            "arm": each.arm,
            "baseline": comparison.baseline,
            "test": "paired t" if units == "seeds" else "corrected resampled t",
            "pairs": len(comparison.seeds),
            "difference": comparison.mean_difference,
            "low": low,
            "high": high,
            "p": comparison.p,
            "p_holm": comparison.p_holm,
            "verdict": comparison.verdict,
            "why_no_verdict": comparison.why_no_verdict,
        }
        opinion = opinion_by_arm.get(each.arm)
        if opinion is not None:
            row |= {
                "signed_rank_p": opinion.signed_rank_p,
                "violation_ratio": opinion.order.violation_ratio,
                "violation_ratio_low": opinion.order.low,
                "violation_ratio_high": opinion.order.high,
            }
        writer.writerow({name: "" if value is None else for_csv(value) for name, value in row.items()})
    return text.getvalue()


_COLUMNS = (
    *("arm", "baseline", "test", "pairs", "difference", "low", "high", "p", "p_holm", "verdict", "why_no_verdict"),
    *("signed_rank_p", "violation_ratio", "violation_ratio_low", "violation_ratio_high"),
)
