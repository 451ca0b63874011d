"""The rows on which arms differ most are those found by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from research.studies.report.disagreements import MAX_SHOWN, find_disagreements
from research.studies.report.rows import StudyRows, read_rows
from research.studies.report.texts import StudyTexts
from tests.builders.studies import study_with_predictions


class NumberedTexts:
    """Stands in for the texts of a study; each text contains the index of its row."""

    def texts(self, study_rows: StudyRows, indices: Sequence[int]) -> list[tuple[str, ...]]:
        return [(f"text {index}",) for index in indices]

    def place(self, study_rows: StudyRows, index: int) -> str:
        return f"row {index + 1}"


def find_in_predictions(directory: Path, predictions: dict[str, Any], labels: list[Any]) -> Any:
    """Return the disagreements in predictions, which have one list of rows for each seed of each arm."""
    rows = read_rows(study_with_predictions(directory, predictions, labels), "test")
    return find_disagreements(rows, cast("StudyTexts", NumberedTexts()))


def test_rows_are_ordered_by_the_gap_between_the_best_and_the_worst_arm(tmp_path: Path) -> None:
    disagreements, total = find_in_predictions(
        tmp_path, {"a": [[0, 1, 0, 0], [0, 1, 0, 1]], "b": [[0, 0, 1, 0], [0, 0, 1, 0]]}, [0, 0, 0, 0]
    )
    assert total == 3
    assert [(row.place, row.label, row.texts) for row in disagreements] == [
        ("row 2", "label0", ("text 1",)),
        ("row 3", "label0", ("text 2",)),
        ("row 4", "label0", ("text 3",)),
    ]
    assert [[(cell.arm, cell.description) for cell in row.arms] for row in disagreements] == [
        [("b", "2 of 2 right"), ("a", "0 of 2 right")],
        [("a", "2 of 2 right"), ("b", "0 of 2 right")],
        [("b", "2 of 2 right"), ("a", "1 of 2 right")],
    ]


def test_rows_with_equal_gaps_are_ordered_by_standard_deviation_over_arms(tmp_path: Path) -> None:
    # One of four arms is wrong in row 1, and two of four in row 2.
    arms = {"a": [[1, 0]], "b": [[0, 0]], "c": [[0, 1]], "d": [[0, 1]]}
    disagreements, _ = find_in_predictions(tmp_path, arms, [0, 0])
    assert [row.place for row in disagreements] == ["row 2", "row 1"]


def test_arms_with_equal_predictions_have_no_disagreements(tmp_path: Path) -> None:
    assert find_in_predictions(tmp_path, {"a": [[0, 1]], "b": [[0, 1]]}, [0, 0]) == ([], 0)


def test_regression_disagreements_use_distances(tmp_path: Path) -> None:
    disagreements, _ = find_in_predictions(tmp_path, {"a": [[1.0, 2.0]], "b": [[1.5, 6.0]]}, [1.0, 2.0])
    assert [row.place for row in disagreements] == ["row 2", "row 1"]
    assert [(cell.arm, cell.quality, cell.description) for cell in disagreements[0].arms] == [
        ("a", 1.0, "off by 0"),
        ("b", 0.0, "off by 4"),
    ]


def test_find_disagreements_returns_a_limited_number_and_the_total(tmp_path: Path) -> None:
    num_rows = MAX_SHOWN + 5
    disagreements, total = find_in_predictions(tmp_path, {"a": [[0] * num_rows], "b": [[1] * num_rows]}, [0] * num_rows)
    assert (len(disagreements), total) == (MAX_SHOWN, num_rows)
