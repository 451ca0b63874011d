"""The ranking of a study's arms, best first, each with its comparison with the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from research.studies.compared_rows import row_settings
from research.studies.outcomes import StudyOutcomes
from research.studies.report.notation import column_decimals
from research.studies.statistics.over_seeds import ArmSummary, Comparison, compare_arms, summarize_arm
from research.studies.units import Unit
from research.system.errors import one_line
from research.tasks.metric_names import higher_is_better, metric_bounds


@dataclass(frozen=True)
class RankedArm:
    """One arm in the ranking."""

    summary: ArmSummary
    """Summary of the metric over seeds."""
    comparison: Comparison | None
    """Comparison with the baseline; None for the baseline itself."""
    values: Mapping[Unit, float]
    """The metric by seed."""
    failed_seeds: tuple[Unit, ...] = ()
    """Seeds whose trial failed."""
    failed_outside_grid: Mapping[Unit, str] = field(default_factory=dict)
    """By seed: the error of each failed trial of this arm whose seed is no longer in the study's grid."""

    @property
    def arm(self) -> str:
        """Name of the arm."""
        return self.summary.arm

    @property
    def notes(self) -> list[str]:
        """Return notes on the values of this arm."""
        notes = [self.summary.remark] if self.summary.remark else []
        if self.failed_seeds:
            notes.append(f"mean, interval and rank exclude the failed seeds: {_join(self.failed_seeds)}")
        notes += self.earlier_failures
        if self.comparison is None:
            return notes
        for seeds, which in (
            (self.comparison.seeds_of_arm_only, "that the baseline does not have"),
            (self.comparison.seeds_of_baseline_only, "that only the baseline has"),
        ):
            if seeds:
                notes.append(f"the comparison excludes seeds {which}: {_join(seeds)}")
        return [*notes, f"seeds needed: {self.comparison.seeds_needed.description}"]

    @property
    def earlier_failures(self) -> list[str]:
        """Return notes on seeds that failed and were then removed from the grid."""
        return [
            f"seed {seed} failed and is no longer part of the study, so the remaining seeds could be biased in favour "
            f"of this arm; error: {error}"
            for seed, error in self.failed_outside_grid.items()
        ]


@dataclass(frozen=True)
class RankingDecimals:
    """Number of decimals in each column of a ranking."""

    mean: int
    """Means and their intervals."""
    std: int
    """Standard deviations."""
    difference: int
    """Differences and their intervals."""

    @classmethod
    def of(cls, ranked: Sequence[RankedArm]) -> RankingDecimals:
        """Return the number of decimals for a ranking."""
        summaries = [each.summary for each in ranked]
        comparisons = [each.comparison for each in ranked if each.comparison is not None]
        return cls(
            mean=column_decimals([value for each in summaries for value in (each.mean, *(each.interval or ()))]),
            std=column_decimals([each.std for each in summaries]),
            difference=column_decimals(
                [value for each in comparisons for value in (each.mean_difference, *(each.interval or ()))]
            ),
        )


def choose_metric(study: StudyOutcomes) -> str | None:
    """Return the compared metric: the chosen one, or the default of the task; None if it is not known yet."""
    results = (outcome.result for outcome in study.finished if outcome.result is not None)
    metrics = (result["metrics"].get(study.spec.split, {}) for result in results)
    return next(filter(None, map(study.spec.compared_metric, metrics)), study.spec.metric)


def rank_arms(study: StudyOutcomes, metric: str, baseline: str | None = None) -> list[RankedArm]:
    """Return all arms, the best mean first; arms without a value come last, in the order of the grid.

    Args:
        study: outcomes of the study.
        metric: the compared metric.
        baseline: the arm with which each arm is compared; by default the study's baseline.
    Raises:
        ValueError: if a trial does not have the metric, or if the baseline is not one of the arms.
    """
    values = study.metric_values(metric, study.spec.split)
    is_higher_better = higher_is_better(metric)
    failed, bounds = study.failed_seeds, metric_bounds(metric)
    compared = compare_arms(
        values,
        baseline or study.baseline,
        higher_is_better=is_higher_better,
        failed=failed,
        bounds=bounds,
        num_folds=study.num_folds,
    )
    # Both are computed once, because they read the settings of all trials.
    inconsistencies, different_rows = study.inconsistencies, _find_different_rows(study, baseline or study.baseline)
    comparisons = {
        each.arm: _remove_verdict_if_inconsistent(each, [*different_rows.get(each.arm, []), *inconsistencies])
        for each in compared
    }
    ranked = [
        RankedArm(
            summarize_arm(arm, arm_values, bounds, study.num_folds),
            comparisons.get(arm),
            arm_values,
            failed[arm],
            {
                each.trial.unit: one_line(each.error or "no error was recorded").removesuffix(".")
                for each in study.failed_outside_grid
                if each.trial.arm == arm
            },
        )
        for arm, arm_values in values.items()
    ]

    def sort_key(each: RankedArm) -> float:
        if each.summary.mean is None:
            return math.inf
        return -each.summary.mean if is_higher_better else each.summary.mean

    return sorted(ranked, key=sort_key)


def _find_different_rows(study: StudyOutcomes, baseline: str) -> dict[str, list[str]]:
    """Return a message for each arm that, by its settings, was not measured on the rows of the baseline."""
    settings = {outcome.trial.arm: outcome.trial.settings for outcome in study.outcomes}
    compared_names = row_settings(study.spec.split)
    messages = {}
    for arm, arm_settings in settings.items():
        names = [name for name in compared_names if arm_settings.get(name) != settings[baseline].get(name)]
        if names:
            differ = f"{names[0]} differs" if len(names) == 1 else f"{' and '.join(names)} differ"
            messages[arm] = [f"{differ}, so that they were measured on different rows"]
    return messages


def _remove_verdict_if_inconsistent(comparison: Comparison, inconsistencies: Sequence[str]) -> Comparison:
    """Remove the verdict of a comparison if the trials are not comparable; the reasons are put before existing ones."""
    if not inconsistencies:
        return comparison
    reasons = [*inconsistencies, *filter(None, [comparison.why_no_verdict])]
    return replace(comparison, verdict=None, why_no_verdict="; ".join(reasons))


def _join(seeds: Sequence[Unit]) -> str:
    return ", ".join(map(str, seeds))
