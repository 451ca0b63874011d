"""The results of arms on groups of rows equal values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from research.records.many_labels import MANY_LABELS
from research.studies.report.breakdown import MAX_COLUMNS, break_down_by_label, break_down_by_length
from research.studies.report.rows import StudyRows, read_rows
from research.studies.report.styles import MANY_ARMS
from research.studies.report.texts import StudyTexts
from tests.builders.studies import study_with_predictions


class FixedLengths:
    """Stands in for the texts of a study; returns the given lengths in tokens."""

    encoder = "minilm"

    def __init__(self, lengths: list[int]) -> None:
        self._lengths = np.array(lengths)

    def lengths(self, study_rows: StudyRows) -> Any:
        return self._lengths


def test_rows_are_grouped_by_length_into_bins_of_equal_size(tmp_path: Path) -> None:
    labels = [0] * 10
    correct, two_wrong, all_wrong = labels, [0] * 8 + [1] * 2, [1] * 10
    study = study_with_predictions(tmp_path, {"a": [two_wrong, correct], "b": [all_wrong]}, labels)
    rows = read_rows(study, "test")
    lengths = [9, 9, 8, 7, 5, 6, 4, 3, 2, 1]
    breakdown = break_down_by_length(rows, cast("StudyTexts", FixedLengths(lengths)))
    assert breakdown.groups == [("1 to 2", 2), ("3 to 4", 2), ("5 to 6", 2), ("7 to 8", 2), ("9", 2)]
    assert breakdown.means == {"a": [0.5, 1.0, 1.0, 1.0, 1.0], "b": [0.0] * 5}
    assert "tokens of minilm" in breakdown.title
    # The lowest of the means is 0, and the highest is 1.
    assert [breakdown.relative_quality(mean) for mean in (0.0, 0.5, 1.0)] == [0, 0.5, 1]


def test_many_labels_are_collapsed_and_ordered_worst_first(tmp_path: Path) -> None:
    labels = [index for index in range(MANY_LABELS - 1) for _ in range(2)]  # the last label has no rows
    label_7_wrong = [0 if label == 7 else label for label in labels]
    half_of_3_and_7_wrong = [label if row % 2 or label not in (7, 3) else 0 for row, label in enumerate(labels)]
    study = study_with_predictions(
        tmp_path, {"a": [labels, label_7_wrong], "b": [half_of_3_and_7_wrong]}, labels, num_labels=MANY_LABELS
    )
    rows = read_rows(study, "test")
    breakdown = break_down_by_label(rows)
    assert (breakdown.is_long, breakdown.num_groups, len(breakdown.groups)) == (True, MANY_LABELS, MANY_LABELS)
    assert breakdown.groups[:3] == [("label7", 2), ("label3", 2), ("label0", 2)]
    assert breakdown.groups[-1] == (f"label{MANY_LABELS - 1}", 0)
    assert [breakdown.means[arm][:3] for arm in "ab"] == [[0.5, 1.0, 1.0], [0.5, 0.5, 1.0]]
    assert all(math.isnan(breakdown.means[arm][-1]) for arm in "ab")


def test_equal_lengths_share_a_bin(tmp_path: Path) -> None:
    rows = read_rows(study_with_predictions(tmp_path, {"a": [[0, 0, 1, 1]]}, [0, 0, 0, 0]), "test")
    breakdown = break_down_by_length(rows, cast("StudyTexts", FixedLengths([7, 7, 7, 7])))
    assert (breakdown.groups, breakdown.means) == ([("7", 4)], {"a": [0.5]})


def test_label_breakdown_shows_recall(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, {"a": [[0, 1, 1, 1], [0, 0, 0, 1]]}, [0, 0, 0, 1])
    breakdown = break_down_by_label(read_rows(study, "test"))
    assert breakdown.groups == [("label0", 3), ("label1", 1)]
    assert breakdown.means["a"] == pytest.approx([(1 / 3 + 1) / 2, 1.0])


def test_mean_of_a_label_without_rows_is_nan(tmp_path: Path) -> None:
    breakdown = break_down_by_label(read_rows(study_with_predictions(tmp_path, {"a": [[0, 1]]}, [0, 0]), "test"))
    assert breakdown.groups == [("label0", 2), ("label1", 0)]
    assert breakdown.means["a"][0] == 0.5
    assert math.isnan(breakdown.means["a"][1])


def test_multi_label_breakdown_shows_f1(tmp_path: Path) -> None:
    labels = [[1, 0], [1, 1], [0, 1]]
    breakdown = break_down_by_label(
        read_rows(study_with_predictions(tmp_path, {"a": [[[1, 0], [0, 1], [0, 0]]]}, labels), "test")
    )
    assert breakdown.groups == [("label0", 2), ("label1", 2)]
    assert breakdown.means["a"] == pytest.approx([2 / 3, 2 / 3])


def test_regression_breakdown_rates_smaller_distances_as_better(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, {"a": [[0.0, 1.0, 2.0, 3.0, 5.0]]}, [0.0, 1.0, 2.0, 3.0, 4.0])
    breakdown = break_down_by_label(read_rows(study, "test"))
    assert breakdown.means["a"] == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert (breakdown.relative_quality(0.0), breakdown.relative_quality(1.0)) == (1, 0)


def test_many_arms_become_rows_and_see_fewer_labels(tmp_path: Path) -> None:
    labels = list(range(MANY_LABELS))
    arms = {f"arm {index}": [labels] for index in range(MANY_ARMS + 1)}
    for num_arms, has_arms_as_rows, num_shown in ((MANY_ARMS, False, MANY_LABELS), (MANY_ARMS + 1, True, MAX_COLUMNS)):
        predictions = dict([*arms.items()][:num_arms])
        study = study_with_predictions(tmp_path / str(num_arms), predictions, labels, num_labels=MANY_LABELS)
        breakdown = break_down_by_label(read_rows(study, "test"))
        assert (breakdown.has_arms_as_rows, len(breakdown.groups)) == (has_arms_as_rows, num_shown)
        assert breakdown.is_collapsed
        assert str(num_shown) in breakdown.title_suffix
