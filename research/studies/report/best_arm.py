"""Comparisons with the best arm. They are exploratory: which arm is the best is known only after seeing the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from research.studies.outcomes import StudyOutcomes
from research.studies.report.notation import column_decimals
from research.studies.report.ranking import RankedArm, rank_arms
from research.studies.statistics.over_seeds import Comparison


@dataclass(frozen=True)
class BestArm:
    """The arm with the best mean, and its comparisons with all others."""

    arm: str
    """Name of the arm."""
    comparisons: Sequence[Comparison]
    """Comparison of each other arm with the best one, the next best first. The p values are corrected with Holm's
    method for these comparisons, which are separate from the comparisons with the baseline."""
    is_baseline: bool
    """Whether the best arm is the baseline, so that these are the comparisons of the ranking."""

    @property
    def runner_up(self) -> Comparison | None:
        """Return the comparison with the next best arm; None if no other arm has a value."""
        return next((each for each in self.comparisons if each.mean_difference is not None), None)

    @property
    def decimals(self) -> int:
        """Return the number of decimals of the differences and their intervals."""
        return column_decimals(
            [value for each in self.comparisons for value in (each.mean_difference, *(each.interval or ()))]
        )

    @property
    def not_different(self) -> list[str]:
        """Return the arms whose difference from the best arm was tested and is not significant."""
        return [each.arm for each in self.comparisons if each.verdict == "no significant difference"]


def find_best_arm(study: StudyOutcomes, metric: str, ranked: Sequence[RankedArm]) -> BestArm | None:
    """Return the best arm and its comparisons; None if no arm has a value.

    Args:
        study: outcomes of the study.
        metric: the compared metric.
        ranked: the arms, best first.
    """
    if not ranked or ranked[0].summary.mean is None:
        return None
    best = ranked[0].arm
    comparisons = [each.comparison for each in rank_arms(study, metric, best) if each.comparison is not None]
    return BestArm(best, comparisons, is_baseline=best == study.baseline)
