"""Runs with more labels than a confusion matrix can show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from research import Hook, RunConfig, run_experiment
from research.report.confusions import most_confused
from research.report.label_table import MOST_SHOWN, label_table
from research.report.mistakes import Scored
from research.tasks.base import Task
from research.tasks.single_label import SingleLabel
from research.training.api import Run


def labels_task(num_labels: int) -> Task:
    return SingleLabel(tuple(f"label {index}" for index in range(num_labels)), (1,) * num_labels, num_labels)


@pytest.fixture
def settings(tiny_encoder: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run on data with 45 labels."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    (tmp_path / "data").mkdir()
    lines = "".join(f"a film of kind {row % 45},kind {row % 45}\n" for row in range(90))
    for split in ("train", "validation", "test"):
        (tmp_path / "data" / f"{split}.csv").write_text(f"text,label\n{lines}")
    return {
        "encoder": str(tiny_encoder),
        "data": str(tmp_path / "data"),
        "batch_size": 8,
        "max_length": 32,
        "max_steps": 1,
        "mixed_precision": "no",
        "output_dir": str(tmp_path / "run"),
    }


def test_most_confused_pairs_by_hand() -> None:
    labels, predicted = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array([1, 1, 0, 2, 0, 1, 1, 1])
    found = most_confused(labels_task(3), labels, predicted)
    assert [(each.label, each.predicted, each.num_rows, each.share) for each in found] == [
        ("label 0", "label 1", 2, 0.5),
        ("label 2", "label 1", 2, 1.0),
        ("label 0", "label 2", 1, 0.25),
        ("label 1", "label 0", 1, 0.5),
    ]


def test_long_label_table_has_the_worst_labels_first() -> None:
    labels = np.arange(45).repeat(2)[:-2]  # no row of the last label
    predicted = labels.copy()
    predicted[[20, 21]] = 0  # label 10 is never found; label 0 is predicted too often
    predicted[40] = 0  # label 20 is found once
    table = label_table(labels_task(45), Scored(labels, labels, predicted, labels))
    assert (table.is_long, table.num_labels) == (True, 45)
    names = [each.name for each in table.labels]
    assert names[:3] == ["label 10", "label 0", "label 20"]
    assert names[-1] == "label 44"
    assert (table.labels[1].precision, table.labels[1].recall, table.labels[1].num_rows) == (0.4, 1.0, 2)


def test_label_table_shows_no_more_than_a_browser_takes() -> None:
    labels = np.arange(2 * MOST_SHOWN)
    table = label_table(labels_task(len(labels)), Scored(labels, labels, labels, labels))
    assert (len(table.labels), table.num_labels) == (MOST_SHOWN, 2 * MOST_SHOWN)


def test_run_with_many_labels_has_tables_instead_of_matrices(settings: dict[str, Any]) -> None:
    result = run_experiment(RunConfig(**settings))
    directory = Path(settings["output_dir"])
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert "Confusion matrix" not in page
    assert page.count('<details class="labels">') == 2
    assert 'id="confusions-test"' in page
    table = pq.read_table(directory / "predictions" / "test.parquet")
    scores = np.stack(
        [table.column(name).to_numpy() for name in table.column_names if name.startswith("score_")], axis=1
    )
    assert scores.shape == (90, 45)
    assert scores.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(scores.argmax(axis=1), table.column("prediction").to_numpy())
    assert np.mean(table.column("prediction").to_numpy() == table.column("label").to_numpy()) == pytest.approx(
        result["metrics"]["test"]["accuracy"]
    )


def test_run_with_many_labels_in_each_row_prints_them_nowhere(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": f"good film {i}", "label": [f"kind {i % 45}", f"kind {(i + 7) % 45}"]} for i in range(90)]
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run_experiment(RunConfig(**settings | {"data": str(tmp_path)}))
    assert len([name for name in result["metrics"]["test"] if name.startswith("f1/")]) == 45
    assert "f1/" not in capsys.readouterr().out
    table = pq.read_table(Path(settings["output_dir"]) / "predictions" / "test.parquet")
    labels, predicted = (np.array(table.column(name).to_pylist()) for name in ("label", "prediction"))
    assert table.column("label_name").to_pylist()[3] == ["kind 10", "kind 3"]
    assert (labels == predicted).all(axis=1).mean() == result["metrics"]["test"]["subset_accuracy"]


def test_predictions_are_the_same_in_one_block_and_in_many(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Path(settings["output_dir"])
    run_experiment(RunConfig(**settings))
    whole = pq.read_table(directory / "predictions" / "test.parquet")
    monkeypatch.setattr("research.records.results.PREDICTIONS_BLOCK_BYTES", 8 * 45 * 7)
    run_experiment(RunConfig(**settings, overwrite=True))
    file = pq.ParquetFile(directory / "predictions" / "test.parquet")
    assert file.num_row_groups == 13
    assert file.read().equals(whole)


def test_run_whose_report_cannot_be_drawn_is_finished(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class Obstacle(Hook):
        def on_train_end(self, run: Run) -> None:
            (run.directory / "report.html" / "in the way").mkdir(parents=True)

    result = run_experiment(RunConfig(**settings), hooks=[Obstacle()])
    assert result["status"] == "finished"
    assert json.loads((Path(settings["output_dir"]) / "result.json").read_text())["status"] == "finished"
    assert "Warning: cannot draw report.html" in capsys.readouterr().out


def test_best_model_that_is_the_last_is_evaluated_once(settings: dict[str, Any]) -> None:
    evaluated = []

    class Listener(Hook):
        def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
            evaluated.append(split)

    result = run_experiment(RunConfig(**settings, best_metric="loss"), hooks=[Listener()])
    assert result["tested"] == "best"
    assert evaluated == ["validation", "test"]


def test_label_that_training_never_saw_is_named_among_the_confusions() -> None:
    task = SingleLabel(("a", "b"), (1, 1), 2, unseen_labels=("new",))
    (found,) = most_confused(task, np.array([0, 2, 2]), np.array([0, 1, 1]))
    assert (found.label, found.predicted, found.num_rows, found.share) == ("new", "b", 2, 1.0)
