"""What a run leaves in its directory."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from research.config import RunConfig
from research.evaluation import Predictions
from research.outputs import (
    check_directory,
    config_as_yaml,
    run_directory,
    weights_sha256,
    write_predictions,
    write_result,
)
from research.task import Task
from tests.rights import modes_count


def test_weights_sha256_sees_names_shapes_and_bytes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    first = weights_sha256(model)
    again = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    again.load_state_dict(model.state_dict())
    assert weights_sha256(again) == first
    again[1].running_mean[0] = torch.nextafter(again[1].running_mean[0], torch.tensor(1.0))  # type: ignore[index, operator]
    assert weights_sha256(again) != first
    assert weights_sha256(nn.ModuleDict({"a": model[0], "b": model[1]})) != first
    flat, square = nn.Module(), nn.Module()
    flat.register_buffer("x", torch.zeros(4))
    square.register_buffer("x", torch.zeros(2, 2))
    assert weights_sha256(flat) != weights_sha256(square)


def test_run_directory_follows_output_dir_then_name_then_time() -> None:
    assert run_directory(RunConfig(output_dir="a/b", name="c")) == Path("a/b")
    assert run_directory(RunConfig(name="c")) == Path("runs/c")
    made = run_directory(RunConfig(head="lstm", data="some/reviews.csv", encoder="org/model"))
    assert made.parent == Path("runs")
    assert made.name.startswith("model-lstm-reviews-2")


def test_default_name_is_one_that_systems_take() -> None:
    long = run_directory(RunConfig(data=f"{'x' * 250}.csv", encoder="y" * 250))
    assert len(long.name) < 200
    assert run_directory(RunConfig(data="two\nlines")).name.isprintable()


@pytest.mark.parametrize("name", ["x" * 300, "locked", "locked/a"])
@pytest.mark.parametrize("resume", [None, "auto"])
def test_directories_that_cannot_be_looked_up_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, resume: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locked").mkdir(mode=0)
    with modes_count(), pytest.raises(ValueError, match=r"Cannot read .*: (File name too long|Permission denied)\."):
        check_directory(Path(name), RunConfig(output_dir=name, resume=resume))


def test_overwriting_what_the_run_reads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs/self")
    (run / "best").mkdir(parents=True)
    (run / "config.yaml").touch()
    (run / "plugin.py").touch()
    Path("link").symlink_to(run)
    (run / "elsewhere").symlink_to(tmp_path)
    for settings in (
        {"fork": "runs/self@6"},
        {"fork": "link"},
        {"fork": f"{tmp_path}/runs/../runs/self"},
        {"init_from": "runs/self"},
        {"init_from": "link/best"},
        {"encoder": "./runs/self/best"},
        {"data": "runs/self/elsewhere"},
        {"plugin": ["runs/self/plugin.py"]},
    ):
        for directory in (run, Path("link"), tmp_path / run):
            (name,) = settings
            with pytest.raises(ValueError, match=rf"--overwrite would delete .* --{name} "):
                check_directory(directory, RunConfig(**settings, overwrite=True))
    check_directory(run, RunConfig(overwrite=True, data="reviews.csv", init_from="runs/selfish"))
    check_directory(run, RunConfig(resume="auto", init_from="runs/self"))
    (run / "child").mkdir()
    (run / "child" / "config.yaml").touch()
    with pytest.raises(ValueError, match=r"other runs .*runs/self/child"):
        check_directory(run, RunConfig(overwrite=True))


def test_config_says_nothing_of_where_one_run_lies() -> None:
    text = config_as_yaml(RunConfig(output_dir="/somewhere", name="x", resume="auto", overwrite=True))
    assert "somewhere" not in text
    assert "resume" not in text
    assert "seed: 0" in text


def test_result_holds_no_nan(tmp_path: Path) -> None:
    write_result(tmp_path, {"status": "finished", "metrics": {"test": {"auroc": math.nan, "accuracy": 0.5}}})
    text = (tmp_path / "result.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["metrics"]["test"] == {"auroc": None, "accuracy": 0.5}


@pytest.mark.parametrize(
    ("task", "logits", "labels", "expected"),
    [
        (
            Task("single_label", ("no", "yes"), (1, 1), 2),
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
            Task("multi_label", ("a", "b"), (1, 1), 2),
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
            Task("regression", ("score",)),
            [[1.5], [2.5]],
            np.array([1.0, 2.0]),
            {"label": [1.0, 2.0], "prediction": [1.5, 2.5], "score_score": [1.5, 2.5]},
        ),
    ],
)
def test_predictions_have_one_score_per_class(
    tmp_path: Path, task: Task, logits: list[list[float]], labels: np.ndarray, expected: dict[str, list[object]]
) -> None:
    found = Predictions(np.arange(2), np.array(logits, dtype=np.float32), labels, 0.0, {})
    write_predictions(tmp_path, "test", task, found, [("one.csv", 0), ("empty.csv", 1), ("two.csv", 1)])
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
