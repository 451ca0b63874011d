"""The predictions of several runs for the same rows are read and aligned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from research.studies.statistics.predictions import read_predictions
from research.tasks.base import Array
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel


def write_predictions(path: Path, **columns: list[Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_predictions_are_aligned_by_id(tmp_path: Path) -> None:
    first = write_predictions(
        tmp_path / "1", id=[5, 2, 9], label=[1, 0, 0], prediction=[1, 1, 0], score_a=[0.1, 0.2, 0.3]
    )
    second = write_predictions(tmp_path / "2", id=[9, 5, 2], label=[0, 1, 0], prediction=[1, 0, 0])
    predictions = read_predictions([first, second])
    assert predictions.ids.tolist() == [2, 5, 9]
    assert predictions.labels.tolist() == [0, 1, 0]
    assert predictions.predicted.tolist() == [[1, 1, 0], [0, 0, 1]]
    assert predictions.are_correct(SingleLabel).tolist() == [[False, True, True], [True, False, False]]


def test_multi_label_row_is_correct_only_if_all_its_labels_are_correct(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "1", id=[1, 0], label=[[1.0, 0.0], [1.0, 1.0]], prediction=[[1, 0], [1, 0]])
    predictions = read_predictions([path])
    assert predictions.labels.tolist() == [[1, 1], [1, 0]]
    assert predictions.are_correct(MultiLabel).tolist() == [[False, True]]


class NearMiss(SingleLabel):
    """A user-defined task with the labels of `SingleLabel`; predictions that are off by one count as correct."""

    @classmethod
    def correctness(cls, labels: Array, predicted: Array) -> NDArray[np.bool_]:
        return np.asarray(np.abs(predicted - labels) <= 1)


def test_task_determines_which_predictions_are_correct(tmp_path: Path) -> None:
    predictions = read_predictions(
        [write_predictions(tmp_path / "1", id=[0, 1, 2], label=[0, 2, 2], prediction=[0, 1, 0])]
    )
    assert predictions.are_correct(NearMiss).tolist() == [[True, True, False]]
    assert predictions.are_correct(SingleLabel).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    "columns", [{"id": [0, 2], "label": [0, 1]}, {"id": [0, 1], "label": [1, 1]}, {"id": [0], "label": [0]}]
)
def test_different_rows_or_labels_are_refused(tmp_path: Path, columns: dict[str, list[int]]) -> None:
    first = write_predictions(tmp_path / "1", id=[0, 1], label=[0, 1], prediction=[0, 0])
    second = write_predictions(tmp_path / "2", **columns, prediction=columns["label"])
    with pytest.raises(ValueError, match=rf"{first}.*{second}"):
        read_predictions([first, second])


def test_rows_without_labels_are_refused(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "1", id=[0, 1], label=[None, None], prediction=[0, 1])
    with pytest.raises(ValueError, match="have no labels"):
        read_predictions([path])


def test_regression_predictions_are_not_right_or_wrong(tmp_path: Path) -> None:
    predictions = read_predictions(
        [write_predictions(tmp_path / "1", id=[0, 1], label=[0.5, 1.0], prediction=[0.5, 2.0])]
    )
    assert predictions.predicted.tolist() == [[0.5, 2.0]]
    with pytest.raises(ValueError, match="regression"):
        predictions.are_correct(Regression)
