"""The files result.json, config.yaml and predictions of a run, the weights' hash, and the commit."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from research.learning.predictions import Predictions
from research.records import results
from research.records.results import config_as_yaml, git_commit, weights_sha256, write_predictions, write_result
from research.settings.config import RunConfig
from research.tasks.base import Task
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel


def test_weights_sha256_depends_on_names_shapes_and_bytes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    first = weights_sha256(model)
    copy = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    copy.load_state_dict(model.state_dict())
    assert weights_sha256(copy) == first
    mean = copy.get_buffer("1.running_mean")
    mean[0] = torch.nextafter(mean[0], torch.tensor(1.0))
    assert weights_sha256(copy) != first
    assert weights_sha256(nn.ModuleDict({"a": model[0], "b": model[1]})) != first
    flat, square = nn.Module(), nn.Module()
    flat.register_buffer("x", torch.zeros(4))
    square.register_buffer("x", torch.zeros(2, 2))
    assert weights_sha256(flat) != weights_sha256(square)


def test_config_as_yaml_omits_settings_of_a_single_invocation() -> None:
    text = config_as_yaml(RunConfig(output_dir="/somewhere", name="x", resume="auto", overwrite=True))
    assert "somewhere" not in text
    assert "resume" not in text
    assert "seed: 0" in text


def test_result_has_null_instead_of_nan(tmp_path: Path) -> None:
    write_result(tmp_path, {"status": "finished", "metrics": {"test": {"auroc": math.nan, "accuracy": 0.5}}})
    text = (tmp_path / "result.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["metrics"]["test"] == {"auroc": None, "accuracy": 0.5}


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
    write_predictions(tmp_path, "test", task, predictions, files)
    table = pq.read_table(tmp_path / "predictions" / "test.parquet").to_pydict()
    assert table.pop("id") == [0, 1]
    assert table.pop("file") == ["one.csv", "two.csv"]
    assert table.pop("row") == [1, 1]
    assert list(table) == list(expected)
    for name, values in expected.items():
        if name.endswith("_name"):
            assert table[name] == values, name
        else:
            assert np.allclose(table[name], values), name


def test_git_commit_is_none_for_untracked_code_and_has_a_suffix_after_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    for name in ("project.py", "results.py"):
        (tmp_path / name).touch()
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    assert git_commit() is None
    git("init")
    git("add", "project.py")
    git("commit", "-m", "a project that does not track the code")
    assert git_commit() is None
    git("add", "results.py")
    git("commit", "-m", "the code itself")
    assert git_commit() == git("rev-parse", "HEAD")
    (tmp_path / "project.py").write_text("changed = True")
    assert git_commit() == f"{git('rev-parse', 'HEAD')}-modified"
