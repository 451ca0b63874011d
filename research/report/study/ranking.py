"""The arms of a study, best first, each with what its comparison with the baseline says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from research.ablation.outcomes import StudyOutcomes
from research.ablation.over_seeds import ArmSummary, Comparison, compare_arms, summarize_arm
from research.metrics import higher_is_better


@dataclass(frozen=True)
class RankedArm:
    """One arm in the ranking."""

    summary: ArmSummary
    """Its metric over seeds."""
    comparison: Comparison | None
    """With the baseline; None of the baseline itself."""
    values: Mapping[int, float]
    """The metric by seed."""

    @property
    def arm(self) -> str:
        """Which one."""
        return self.summary.arm

    @property
    def notes(self) -> list[str]:
        """Return what is to be said of its numbers."""
        notes = [self.summary.remark] if self.summary.remark else []
        if self.comparison is None:
            return notes
        for seeds, whose in (
            (self.comparison.seeds_of_arm_only, "the baseline has not"),
            (self.comparison.seeds_of_baseline_only, "the baseline alone has"),
        ):
            if seeds:
                notes.append(f"compared without the seeds that {whose}: {', '.join(map(str, seeds))}")
        return [*notes, f"seeds needed: {self.comparison.needed.words}"]


def choose_metric(study: StudyOutcomes) -> str | None:
    """Return the metric that is compared: the chosen one, or the default of the task; None while it is not known."""
    metrics = (outcome.result["metrics"][study.spec.split] for outcome in study.finished if outcome.result is not None)
    return next(filter(None, map(study.spec.metric_among, metrics)), study.spec.metric)


def rank_arms(study: StudyOutcomes, metric: str) -> list[RankedArm]:
    """Return all arms, the best mean first; those without a value come last, in the order of the grid.

    Args:
        study: its outcomes.
        metric: what is compared.
    Raises:
        ValueError: if a trial has no such metric, or there is no such arm as the baseline.
    """
    values = study.values(metric, study.spec.split)
    more_is_better = higher_is_better(metric)
    comparisons = {each.arm: each for each in compare_arms(values, study.baseline, higher_is_better=more_is_better)}
    if study.mixtures:
        why = "; ".join(study.mixtures)
        comparisons = {arm: replace(each, verdict=None, why_no_verdict=why) for arm, each in comparisons.items()}
    ranked = [RankedArm(summarize_arm(arm, of_arm), comparisons.get(arm), of_arm) for arm, of_arm in values.items()]

    def place(each: RankedArm) -> float:
        if each.summary.mean is None:
            return math.inf
        return -each.summary.mean if more_is_better else each.summary.mean

    return sorted(ranked, key=place)
