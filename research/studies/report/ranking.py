"""The arms of a study, best first, each with what its comparison with the baseline says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from research.studies.outcomes import StudyOutcomes
from research.studies.statistics.over_seeds import ArmSummary, Comparison, compare_arms, summarize_arm
from research.system.errors import one_line
from research.tasks.metric_names import higher_is_better, metric_bounds


@dataclass(frozen=True)
class RankedArm:
    """One arm in the ranking."""

    summary: ArmSummary
    """Its metric over seeds."""
    comparison: Comparison | None
    """With the baseline; None of the baseline itself."""
    values: Mapping[int, float]
    """The metric by seed."""
    failed_seeds: tuple[int, ...] = ()
    """Seeds whose trial failed."""
    failed_outside_grid: Mapping[int, str] = field(default_factory=dict)
    """Errors by seed, of failed trials that the study's grid does not ask for any more."""

    @property
    def arm(self) -> str:
        """Which one."""
        return self.summary.arm

    @property
    def notes(self) -> list[str]:
        """Return what is to be said of its numbers."""
        notes = [self.summary.remark] if self.summary.remark else []
        if self.failed_seeds:
            notes.append(f"mean, interval and rank leave out the seeds that failed: {_listed(self.failed_seeds)}")
        notes += self.earlier_failures
        if self.comparison is None:
            return notes
        for seeds, whose in (
            (self.comparison.seeds_of_arm_only, "the baseline has not"),
            (self.comparison.seeds_of_baseline_only, "the baseline alone has"),
        ):
            if seeds:
                notes.append(f"compared without the seeds that {whose}: {_listed(seeds)}")
        return [*notes, f"seeds needed: {self.comparison.needed.description}"]

    @property
    def earlier_failures(self) -> list[str]:
        """Return what is to be said of seeds that failed and were taken out of the grid."""
        return [
            f"seed {seed} failed and is no longer part of the study, so the rest could flatter this arm: {error}"
            for seed, error in self.failed_outside_grid.items()
        ]


def choose_metric(study: StudyOutcomes) -> str | None:
    """Return the metric that is compared: the chosen one, or the default of the task; None while it is not known."""
    results = (outcome.result for outcome in study.finished if outcome.result is not None)
    metrics = (result["metrics"].get(study.spec.split, {}) for result in results)
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
    failed, bounds = study.failed_seeds, metric_bounds(metric)
    compared = compare_arms(values, study.baseline, higher_is_better=more_is_better, failed=failed, bounds=bounds)
    comparisons = {each.arm: _without_verdict(each, study.inconsistencies) for each in compared}
    ranked = [
        RankedArm(
            summarize_arm(arm, of_arm, bounds),
            comparisons.get(arm),
            of_arm,
            failed[arm],
            {
                each.trial.seed: one_line(each.error or "no error was kept").removesuffix(".")
                for each in study.failed_outside_grid
                if each.trial.arm == arm
            },
        )
        for arm, of_arm in values.items()
    ]

    def place(each: RankedArm) -> float:
        if each.summary.mean is None:
            return math.inf
        return -each.summary.mean if more_is_better else each.summary.mean

    return sorted(ranked, key=place)


def _without_verdict(found: Comparison, inconsistencies: Sequence[str]) -> Comparison:
    """Return a comparison that has no verdict if its trials are not comparable; its own reasons are kept."""
    if not inconsistencies:
        return found
    reasons = [*inconsistencies, *filter(None, [found.why_no_verdict])]
    return replace(found, verdict=None, why_no_verdict="; ".join(reasons))


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
