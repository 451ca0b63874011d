"""Files of predictions: written, read and updated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from research.learning.predictions import Predictions
from research.records.predictions_file import read_predictions_file, update_predictions_file, write_predictions
from research.tasks.base import Task
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel


@pytest.mark.parametrize(
    ("task", "logits", "labels", "expected"),
    [
        (
            SingleLabel(("no", "yes"), label_counts=(1, 1), num_train=2),
            [[0.0, 0.0], [-100.0, 100.0]],
            np.array([0, 1]),
            {
                "label": [0, 1],
                "prediction": [0, 1],
                "label_name": ["no", "yes"],
                "prediction_name": ["no", "yes"],
                "score_no": [0.5, 0.0],
                "score_yes": [0.5, 1.0],
            },
        ),
        (
            MultiLabel(("a", "b"), label_counts=(1, 1), num_train=2),
            [[100.0, -100.0], [100.0, 100.0]],
            np.array([[1.0, 0.0], [0.0, 1.0]]),
            {
                "label": [[1, 0], [0, 1]],
                "prediction": [[1, 0], [1, 1]],
                "label_name": [["a"], ["b"]],
                "prediction_name": [["a"], ["a", "b"]],
                "score_a": [1.0, 1.0],
                "score_b": [0.0, 1.0],
            },
        ),
        (
            Regression(("stars",)),
            [[1.5], [2.5]],
            np.array([1.0, 2.0]),
            {"label": [1.0, 2.0], "prediction": [1.5, 2.5], "score_stars": [1.5, 2.5]},
        ),
    ],
)
def test_write_predictions_writes_labels_and_scores_and_place_of_each_row(
    tmp_path: Path, task: Task, logits: list[list[float]], labels: np.ndarray, expected: dict[str, list[Any]]
) -> None:
    predictions = Predictions(
        ids=np.arange(2), logits=np.array(logits, dtype=np.float32), labels=labels, loss=0.0, metrics={}
    )
    # Each file of the split, with the id of its first row: the file in the middle has no rows.
    files = [("one.csv", 0), ("empty.csv", 1), ("two.csv", 1)]
    write_predictions(tmp_path / "new" / "test.parquet", task, predictions, files)
    table = pq.read_table(tmp_path / "new" / "test.parquet").to_pydict()
    assert table.pop("id") == [0, 1]
    assert table.pop("file") == ["one.csv", "two.csv"]
    assert table.pop("row") == [1, 1]
    assert list(table) == list(expected)
    for name, values in expected.items():
        if name.endswith("_name"):
            assert table[name] == values, name
        else:
            assert np.allclose(table[name], values), name


SINGLE, MULTI = SingleLabel(("a", "b")), MultiLabel(("a", "b"))
LOGITS = np.array([[0.5, -3.0], [2.0, 2.5], [-1.0, 1.0]], dtype=np.float32)
LABELS = {"single_label": np.array([0, 1, 0]), "multi_label": np.array([[0, 1], [1, 1], [0, 0]], dtype=np.float32)}


@pytest.mark.parametrize("task", [SINGLE, MULTI])
@pytest.mark.parametrize("temperature", [1.0, 1.7, 0.05])
def test_read_predictions_file_returns_uncalibrated_logits(tmp_path: Path, task: Task, temperature: float) -> None:
    path = tmp_path / "test.parquet"
    predictions = Predictions(np.array([4, 0, 2]), LOGITS / np.float32(temperature), LABELS[task.name], math.nan, {})
    write_predictions(path, task, predictions, [("a.csv", 0)], temperature=temperature)
    stored = read_predictions_file(path, task, uncalibrated=True)
    assert stored.ids.tolist() == [4, 0, 2]
    assert stored.labels is not None
    assert np.array_equal(stored.labels, LABELS[task.name])
    np.testing.assert_allclose(task.probabilities(stored.logits), task.probabilities(LOGITS), rtol=1e-6)


def test_update_predictions_file_changes_only_what_depends_on_the_logits(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    write_predictions(path, MULTI, Predictions(np.arange(3), LOGITS, LABELS["multi_label"], 0.0, {}), [("a.csv", 0)])
    before = pq.read_table(path)
    update_predictions_file(path, MultiLabel(("a", "b"), thresholds=(0.95, 0.05)), LOGITS * 2, 0.5)
    after = pq.read_table(path)
    assert after.column_names == [*before.column_names, "uncalibrated_logit_a", "uncalibrated_logit_b"]
    for name in ("id", "file", "row", "label", "label_name"):
        assert after.column(name).equals(before.column(name)), name
    assert after.column("prediction").to_pylist() == [[0, 0], [1, 1], [0, 1]]
    assert after.column("prediction_name").to_pylist() == [[], ["a", "b"], ["b"]]
    np.testing.assert_allclose(read_predictions_file(path, MULTI, uncalibrated=True).logits, LOGITS, rtol=1e-6)
    update_predictions_file(path, MULTI, LOGITS, 1.0)
    assert pq.read_table(path).equals(before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["test.parquet"]


def test_read_predictions_file_names_a_missing_or_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.parquet: there is no such file"):
        read_predictions_file(tmp_path / "missing.parquet", SINGLE)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"Cannot read the predictions .*damaged\.parquet"):
        read_predictions_file(tmp_path / "damaged.parquet", SINGLE)
