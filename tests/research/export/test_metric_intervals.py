"""Bootstrap intervals of test metrics."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research.export.metric_intervals import bootstrap_test_metrics
from research.records.predictions_file import predictions_path
from research.tasks.single_label import SingleLabel

TASK = SingleLabel(label_names=("no", "yes"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with predictions for 400 rows, of which 300 are right."""
    path = predictions_path(tmp_path, "test")
    path.parent.mkdir()
    labels = [row % 2 for row in range(400)]
    predicted = [label if row % 8 < 6 else 1 - label for row, label in enumerate(labels)]
    scores = [0.9 if each else 0.2 for each in predicted]
    table = {"id": range(400), "label": labels, "score_no": [1 - score for score in scores], "score_yes": scores}
    pq.write_table(pa.table(table), path)
    return tmp_path


def test_intervals_are_those_of_a_binomial_and_repeatable(run: Path) -> None:
    intervals = bootstrap_test_metrics(run, TASK, {"accuracy": 0.75})
    low, high = intervals["accuracy"]
    # The standard error is the root of 0.75 * 0.25 / 400, or 0.0217.
    assert (low, high) == pytest.approx((0.7076, 0.7924), abs=0.006)
    assert bootstrap_test_metrics(run, TASK, {"accuracy": 0.75}) == intervals


def test_intervals_exclude_metrics_that_the_file_does_not_reproduce(run: Path, tmp_path: Path) -> None:
    assert set(bootstrap_test_metrics(run, TASK, {"accuracy": 0.75, "loss": 1.0, "auroc": math.nan, "own": 0.5})) == {
        "accuracy"
    }
    assert bootstrap_test_metrics(run, TASK, {"accuracy": 0.7}) == {}
    predictions_path(tmp_path, "test").unlink()
    assert bootstrap_test_metrics(run, TASK, {"accuracy": 0.75}) == {}
