"""Tests over the rows of a split, which are about the trained models and not about arms."""

from __future__ import annotations

from dataclasses import dataclass

from research.studies.report.rows import StudyRows
from research.studies.statistics.over_rows import McNemar, RowBootstrap, bootstrap_rows, compare_over_rows


@dataclass(frozen=True)
class ModelComparison:
    """Comparison of the models of one arm with those of the baseline, on the same rows."""

    arm: str
    """Name of the arm."""
    seeds: tuple[int, ...]
    """Common seeds with predictions on this machine."""
    over_all_seeds: RowBootstrap | None
    """Difference in mean correctness, averaged over the seeds; None without a common seed."""
    by_seed: dict[int, McNemar]
    """McNemar's test of the two models of each seed; empty if labels are numbers, which are not simply right or
    wrong."""


def compare_models_of_arms(rows: StudyRows, baseline: str) -> list[ModelComparison]:
    """Compare the models of each arm with those of the baseline, in the order of the arms.

    Raises:
        ValueError: if there are no predictions of the baseline, or fewer than two rows.
    """
    correctness = rows.correctness_by_arm
    if baseline not in correctness:
        raise ValueError("this machine has no predictions of the baseline")
    baseline_correctness = correctness[baseline]
    comparisons = []
    for arm, arm_correctness in correctness.items():
        seeds = tuple(sorted(arm_correctness.keys() & baseline_correctness.keys()))
        if arm == baseline:
            continue
        if not seeds:
            comparisons.append(ModelComparison(arm, (), None, {}))
        elif rows.task.correctness_is_distance:
            bootstrap = bootstrap_rows(
                [arm_correctness[seed] for seed in seeds], [baseline_correctness[seed] for seed in seeds]
            )
            comparisons.append(ModelComparison(arm, seeds, bootstrap, {}))
        else:
            compared = compare_over_rows(arm_correctness, baseline_correctness)
            comparisons.append(ModelComparison(arm, seeds, compared.over_all_seeds, dict(compared.by_seed)))
    return comparisons
