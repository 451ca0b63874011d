"""Runs that calibrate their model at the end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from research import RunResult
from research.inference.saved_model import load_model
from research.learning.metrics import compute_metrics
from research.model.encoder_with_head import EncoderWithHead
from tests.conftest import Launch
from tests.research.runner.conftest import Train

KILL_AT_END = """
import os, signal, sys

def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

if os.environ.get("KILL") == "yes":
    sys.modules["research.runner.experiment"].write_predictions = kill
"""
"""Plugin that kills the run after its model was calibrated and saved, and before its predictions are written."""


def read_predictions(directory: Path, split: str, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, predictions and scores."""
    table = pq.read_table(directory / "predictions" / f"{split}.parquet")
    labels, predicted = (np.array(table.column(name).to_pylist()) for name in ("label", "prediction"))
    return labels, predicted, np.stack([table.column(f"score_{name}").to_numpy() for name in names], axis=1)


@pytest.fixture(scope="module")
def multi_label_run(train: Train, tags: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A finished multi-label run with a temperature and thresholds, and its result."""
    directory = tmp_path_factory.mktemp("runs") / "tags"
    changes = {"data": str(tags), "calibrate": True, "thresholds": "f1", "report": True, "best_metric": "loss"}
    return directory, train(directory, **changes)


def test_predictions_metrics_and_model_of_a_calibrated_run_agree(
    multi_label_run: tuple[Path, dict[str, Any]], tags: Path
) -> None:
    directory, result = multi_label_run
    calibration = result["calibration"]
    saved = load_model(directory / "best")
    assert saved.model.config.calibration_temperature == calibration["temperature"] != 1
    assert saved.task.thresholds == tuple(calibration["thresholds"]["values"].values())
    assert EncoderWithHead.from_pretrained(directory / "model").config.calibration_temperature == 1, "not tested"
    texts = [json.loads(line)["text"] for line in (tags / "test.jsonl").read_text().splitlines()]
    from_model = saved.predict(texts)
    for split in ("validation", "test"):
        labels, predicted, scores = read_predictions(directory, split, saved.task.label_names)
        logits = saved.task.logits_from(scores)
        stored = {name: value for name, value in result["metrics"][split].items() if name != "loss"}
        assert compute_metrics(saved.task, logits, labels) == pytest.approx(stored, abs=1e-6)
        assert np.array_equal(predicted, saved.task.predicted_labels(logits))
        after = calibration["metrics"][split]["after"]
        assert after.items() - stored.items() == {("calibration_error", after["calibration_error"])}
    np.testing.assert_allclose(from_model[[f"score_{name}" for name in saved.task.label_names]], scores, atol=1e-5)
    page = (directory / "report.html").read_text()
    for text in ("Reliability, validation", "Reliability, test", 'id="calibration"', 'id="thresholds"'):
        assert text in page


def test_calibration_changes_neither_the_training_nor_its_loss(
    train: Train, tags: Path, multi_label_run: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, calibrated = multi_label_run
    plain = train(tmp_path / "plain", data=str(tags), best_metric="loss")
    assert "calibration" not in plain
    assert plain["weights_sha256"] == calibrated["weights_sha256"]
    for split in ("validation", "test"):
        assert plain["metrics"][split]["loss"] == calibrated["metrics"][split]["loss"]
        before = calibrated["calibration"]["metrics"][split]["before"]
        assert before.items() - plain["metrics"][split].items() == {("calibration_error", before["calibration_error"])}


def test_single_label_run_is_calibrated(train: Train, tmp_path: Path) -> None:
    result = train(tmp_path / "run", calibrate=True, report=True)
    saved = load_model(tmp_path / "run" / "model")
    assert saved.model.config.calibration_temperature == result["calibration"]["temperature"] != 1
    assert result["calibration"]["thresholds"] is None
    assert saved.model.config.thresholds is None
    labels, _, scores = read_predictions(tmp_path / "run", "validation", saved.task.label_names)
    log_loss = compute_metrics(saved.task, saved.task.logits_from(scores), labels)["log_loss"]
    assert log_loss == pytest.approx(result["metrics"]["validation"]["log_loss"], abs=1e-6)
    assert log_loss < result["calibration"]["metrics"]["validation"]["before"]["log_loss"]
    assert 'id="thresholds"' not in (tmp_path / "run" / "report.html").read_text()


def test_run_killed_after_its_model_was_calibrated_ends_with_the_same_bits(
    launch: Launch, tags: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "kill_at_end.py"
    plugin.write_text(KILL_AT_END)
    flags = [
        *("--encoder", tiny_encoder, "--data", tags, "--max_length", 32, "--batch_size", 8, "--max_steps", 4),
        *("--mixed_precision", "no", "--num_threads", 1, "--best_metric", "loss", "--evaluate_every", "2st"),
        *("--save_every", "2st", "--log_with", "[]", "--report", "false", "--plugin", plugin),
        *("--calibrate", "true", "--thresholds", "recall=0.5"),
    ]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    launch([*flags, "--output_dir", whole])
    monkeypatch.setenv("KILL", "yes")
    process = launch([*flags, "--output_dir", killed], check=False)
    assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    config = json.loads((killed / "best" / "config.json").read_text())
    assert config["calibration_temperature"] != 1
    assert not (killed / "result.json").exists()
    monkeypatch.setenv("KILL", "no")
    launch([*flags, "--output_dir", killed, "--resume", "auto"])
    results = [json.loads((directory / "result.json").read_text()) for directory in (killed, whole)]
    assert results[0]["calibration"] == results[1]["calibration"]
    assert results[0]["resumed_from"] is not None
    for name in ("best/model.safetensors", "best/config.json", "model/model.safetensors", "predictions/test.parquet"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thresholds": "f1"}, "thresholds .* single_label"),
        ({"thresholds": "f1", "task": "single_label"}, "thresholds .* single_label"),
        ({"thresholds": "f2"}, "precision=<target>"),
    ],
)
def test_run_refuses_a_calibration_that_its_task_does_not_have(
    train: Train, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_command_line_refuses_calibration_of_a_known_task_at_once(launch: Launch) -> None:
    process = launch(["--task", "regression", "--calibrate", "true", "--data", "missing.csv"], check=False)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: --calibrate needs a task whose labels have probabilities; regression")


def test_run_that_starts_from_a_calibrated_model_does_not_inherit_its_temperature(
    train: Train, multi_label_run: tuple[Path, dict[str, Any]], tags: Path, tmp_path: Path
) -> None:
    directory, _ = multi_label_run
    train(tmp_path / "next", data=str(tags), init_from=str(directory / "best"))
    model = EncoderWithHead.from_pretrained(tmp_path / "next" / "model")
    assert model.config.calibration_temperature == 1
    np.testing.assert_allclose(model.logit_scale, 1.0, rtol=1e-6)
