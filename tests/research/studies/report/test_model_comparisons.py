"""Comparisons of models on the same rows equal values computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.studies.outcomes import StudyOutcomes
from research.studies.report.model_comparisons import compare_models_of_arms
from research.studies.report.rows import read_rows
from tests.builders.studies import study_with_predictions, with_changed_outcomes

LABELS = [0] * 8
CORRECT, HALF_CORRECT, WRONG = [0] * 8, [0, 1] * 4, [1] * 8


def with_failed_trials(study: StudyOutcomes, *indices: int) -> StudyOutcomes:
    """Return a study in which the trials with these indices failed."""
    return with_changed_outcomes(study, {index: {"state": "failed", "result": None} for index in indices})


def test_models_are_compared_on_common_seeds(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, {"base": [HALF_CORRECT, WRONG], "a": [CORRECT, WRONG]}, LABELS)
    (comparison,) = compare_models_of_arms(read_rows(study, "test"), "base")
    assert (comparison.arm, comparison.seeds) == ("a", (0, 1))
    first, second = comparison.by_seed[0], comparison.by_seed[1]
    assert (first.num_arm_only, first.num_baseline_only) == (4, 0)
    assert first.p == pytest.approx(2 * 0.5**4)  # two-sided: four of four coin flips
    assert (second.num_arm_only, second.num_baseline_only, second.p) == (0, 0, 1.0)
    assert comparison.over_all_seeds is not None
    assert comparison.over_all_seeds.difference == pytest.approx((0.5 + 0.0) / 2)


def test_arm_without_a_common_seed_is_not_compared(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, {"base": [HALF_CORRECT, HALF_CORRECT], "a": [CORRECT, CORRECT]}, LABELS)
    study = with_failed_trials(study, 0, 3)  # seed 0 of the baseline and seed 1 of arm a
    (comparison,) = compare_models_of_arms(read_rows(study, "test"), "base")
    assert (comparison.arm, comparison.seeds, comparison.over_all_seeds, comparison.by_seed) == ("a", (), None, {})


def test_regression_has_a_difference_but_no_mcnemar_test(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, {"base": [[1.0, 3.0]], "a": [[1.0, 2.0]]}, [1.0, 2.0])
    (comparison,) = compare_models_of_arms(read_rows(study, "test"), "base")
    assert comparison.over_all_seeds is not None
    assert comparison.over_all_seeds.difference == pytest.approx(-0.5)  # mean distances from the labels: 0 and 0.5
    assert comparison.by_seed == {}


def test_baseline_without_predictions_is_refused(tmp_path: Path) -> None:
    study = with_failed_trials(study_with_predictions(tmp_path, {"base": [HALF_CORRECT], "a": [CORRECT]}, LABELS), 0)
    with pytest.raises(ValueError, match="baseline"):
        compare_models_of_arms(read_rows(study, "test"), "base")
