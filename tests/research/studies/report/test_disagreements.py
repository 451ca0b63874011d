"""The rows on which arms differ most are those found by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from research.studies.report.disagreements import NUM_SHOWN, find_disagreements
from research.studies.report.rows import StudyRows, read_rows
from research.studies.report.texts import StudyTexts
from tests.builders.studies import written_study


class NumberedTexts:
    """Stands in for the texts of a study; returns the number of each row."""

    def texts(self, study_rows: StudyRows, numbers: Sequence[int]) -> list[tuple[str, ...]]:
        return [(f"text {number}",) for number in numbers]

    def place(self, study_rows: StudyRows, number: int) -> str:
        return f"row {number + 1}"


def find(directory: Path, predictions: dict[str, Any], labels: list[Any]) -> Any:
    rows = read_rows(written_study(directory, predictions, labels), "test")
    return find_disagreements(rows, cast("StudyTexts", NumberedTexts()))


def test_rows_are_ordered_by_gap(tmp_path: Path) -> None:
    disagreements, total = find(
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


def test_rows_with_equal_gaps_are_ordered_by_standard_deviation(tmp_path: Path) -> None:
    arms = {"a": [[1, 0]], "b": [[0, 0]], "c": [[0, 1]], "d": [[0, 1]]}
    disagreements, _ = find(tmp_path, arms, [0, 0])
    assert [row.place for row in disagreements] == ["row 2", "row 1"]


def test_equal_arms_have_no_disagreements(tmp_path: Path) -> None:
    assert find(tmp_path, {"a": [[0, 1]], "b": [[0, 1]]}, [0, 0]) == ([], 0)


def test_regression_disagreements_use_distances(tmp_path: Path) -> None:
    disagreements, _ = find(tmp_path, {"a": [[1.0, 2.0]], "b": [[1.5, 6.0]]}, [1.0, 2.0])
    assert [row.place for row in disagreements] == ["row 2", "row 1"]
    assert [(cell.arm, cell.quality, cell.description) for cell in disagreements[0].arms] == [
        ("a", 1.0, "off by 0"),
        ("b", 0.0, "off by 4"),
    ]


def test_find_disagreements_returns_a_limited_number_and_the_total(tmp_path: Path) -> None:
    num_rows = NUM_SHOWN + 5
    disagreements, total = find(tmp_path, {"a": [[0] * num_rows], "b": [[1] * num_rows]}, [0] * num_rows)
    assert (len(disagreements), total) == (NUM_SHOWN, num_rows)
