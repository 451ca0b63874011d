"""The best arm is compared with all others, in a family of comparisons of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from research.studies.report.best_arm import BestArm, find_best_arm
from research.studies.report.ranking import rank_arms
from research.studies.statistics.over_seeds import holm
from tests.research.studies.report.made_up import made_up_study

ACCURACIES = {"linear": 0.7, "mean": 0.801, "lstm": 0.8, "gru": 0.79}


def best_of(accuracies: dict[str, float], baseline: str = "linear", num_seeds: int = 6) -> BestArm:
    study = made_up_study(Path("nowhere"), accuracies, baseline, range(num_seeds))
    best = find_best_arm(study, "accuracy", rank_arms(study, "accuracy"))
    assert best is not None
    return best


def test_best_arm_is_tested_against_each_other_arm() -> None:
    best = best_of(ACCURACIES)
    study = made_up_study(Path("nowhere"), ACCURACIES)
    values = {arm: np.array(list(seeds.values())) for arm, seeds in study.metric_values("accuracy", "test").items()}
    others = ["lstm", "gru", "linear"]  # the next best first
    p_values = [ttest_rel(values[arm], values["mean"]).pvalue for arm in others]
    assert (best.arm, best.is_baseline) == ("mean", False)
    assert [each.arm for each in best.comparisons] == others
    assert [each.mean_difference for each in best.comparisons] == pytest.approx(
        [(values[arm] - values["mean"]).mean() for arm in others]
    )
    assert [each.p for each in best.comparisons] == pytest.approx(p_values)
    assert [each.p_holm for each in best.comparisons] == pytest.approx(holm(p_values))
    assert best.runner_up is best.comparisons[0]
    assert best.not_different == ["lstm"]
    assert all(each.verdict is not None for each in best.comparisons)


def test_comparisons_are_those_of_the_ranking_if_the_baseline_is_best() -> None:
    best = best_of(ACCURACIES, baseline="mean")
    ranked = rank_arms(made_up_study(Path("nowhere"), ACCURACIES, "mean"), "accuracy")
    assert best.is_baseline
    assert list(best.comparisons) == [each.comparison for each in ranked if each.comparison is not None]


def test_arms_with_few_seeds_are_not_called_equal_to_the_best() -> None:
    best = best_of(ACCURACIES, num_seeds=3)
    assert best.not_different == []
    assert [each.arm for each in best.comparisons if each.verdict is None] == ["lstm", "gru", "linear"]


def test_best_arm_of_a_study_without_values_is_none() -> None:
    assert find_best_arm(made_up_study(Path("nowhere"), {}), "accuracy", []) is None
