"""evaluate.py, which evaluates a trained model on other labelled data."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from research.inference.evaluate import EvaluateSettings, execute
from research.inference.saved_model import load_model
from research.inference.scorer import Scorer
from research.learning.calibration import CalibrationRequest
from research.runner.calibrate_finished import calibrate_finished
from research.system.durable import StorageError
from research.tasks.thresholds import Criterion
from tests.builders.trained_run import train_tiny_run
from tests.conftest import Launch


def evaluate(run: Path, data: Path, output: Path, **settings: Any) -> dict[str, Any]:
    """Evaluate a model in this process, and return the content of evaluation.json."""
    defaults: dict[str, Any] = {"bootstrap": 50, "mixed_precision": "no"}
    assert execute(EvaluateSettings(run=str(run), data=str(data), output=str(output), **defaults | settings)) == 0
    result: dict[str, Any] = json.loads((output / "evaluation.json").read_text())
    return result


@pytest.fixture
def rows_of_test(tiny_reviews: Path) -> list[dict[str, str]]:
    """The test rows of the run."""
    with (tiny_reviews / "test.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_evaluation_of_the_runs_own_test_rows_gives_its_test_metrics(
    trained_run: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    expected = json.loads((trained_run / "result.json").read_text())["metrics"]["test"]
    result = evaluate(trained_run, tiny_reviews, tmp_path / "out", split="test")
    assert result["metrics"] == pytest.approx({name: expected[name] for name in result["metrics"]}, abs=1e-6)
    assert result["rows"] == 23
    for name, (low, high) in result["intervals"].items():
        assert low is None or low <= result["metrics"][name] <= high, name
    ours, theirs = (
        pq.read_table(path).to_pandas()
        for path in (tmp_path / "out" / "predictions.parquet", trained_run / "predictions" / "test.parquet")
    )
    assert list(ours.columns) == list(theirs.columns)
    for name in ("id", "file", "row", "label", "prediction", "label_name", "prediction_name"):
        assert ours[name].tolist() == theirs[name].tolist(), name
    np.testing.assert_allclose(ours["score_positive"], theirs["score_positive"], atol=1e-6)
    page = (tmp_path / "out" / "evaluation.html").read_text()
    for text in ("Confusion matrix, ", "Reliability, ", 'id="mistakes"', 'id="results"', "95% interval"):
        assert text in page


def test_interval_of_the_accuracy_is_that_of_a_share(
    trained_run: Path, rows_of_test: list[dict[str, str]], tmp_path: Path
) -> None:
    many = tmp_path / "many.jsonl"
    many.write_text("".join(json.dumps(row) + "\n" for row in rows_of_test * 5))
    result = evaluate(trained_run, many, tmp_path / "out", bootstrap=400)
    accuracy, (low, high) = result["metrics"]["accuracy"], result["intervals"]["accuracy"]
    half_width = 1.96 * (accuracy * (1 - accuracy) / result["rows"]) ** 0.5
    assert (low, high) == pytest.approx((accuracy - half_width, accuracy + half_width), abs=0.03)
    other_seed = evaluate(trained_run, many, tmp_path / "other", bootstrap=20, seed=1)["intervals"]
    same_seed = evaluate(trained_run, many, tmp_path / "same", bootstrap=20, seed=1)["intervals"]
    assert other_seed == same_seed


def test_evaluation_uses_temperature_and_thresholds_of_a_multi_label_model(
    tiny_encoder: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    rows = [
        {"text": f"row {index} {word} film", "labels": [word] if index % 3 else [word, "warm"]}
        for index, word in enumerate(["good", "bad", "fine"] * 20)
    ]
    data = tmp_path / "tags.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = train_tiny_run(tmp_path / "run", tiny_encoder, data, cache_dir, max_length=16)
    before = evaluate(run, data, tmp_path / "before", bootstrap=0)
    assert before["intervals"] == {}
    calibration = calibrate_finished(run, CalibrationRequest(True, Criterion("f1")))["calibration"]
    after = evaluate(run, data, tmp_path / "after", bootstrap=20)
    assert after["temperature"] == calibration["temperature"]
    assert after["thresholds"] == calibration["thresholds"]["values"]
    assert after["metrics"]["log_loss"] != before["metrics"]["log_loss"]
    assert after["metrics"]["f1_macro"] > before["metrics"]["f1_macro"]
    assert "thresholds" in (tmp_path / "after" / "evaluation.html").read_text()
    columns = pq.read_schema(tmp_path / "after" / "predictions.parquet").names
    assert [name for name in columns if name.startswith("uncalibrated_")] == [
        f"uncalibrated_logit_{name}" for name in after["thresholds"]
    ]


def test_evaluation_of_a_model_of_pairs_of_texts(
    tiny_encoder: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    rows: list[dict[str, Any]] = [
        {"sentence1": f"row {index} good film", "sentence2": f"{word} plot", "score": index % 7 / 2}
        for index, word in enumerate(["good", "bad", "fine"] * 14)
    ]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = train_tiny_run(tmp_path / "run", tiny_encoder, data, cache_dir, max_length=16)
    result = evaluate(run, data, tmp_path / "out", bootstrap=50)
    predicted = load_model(run).predict([(row["sentence1"], row["sentence2"]) for row in rows])["prediction"]
    scores = np.array([row["score"] for row in rows])
    assert result["metrics"]["mse"] == pytest.approx(float(np.square(predicted - scores).mean()), rel=1e-4)
    assert "Predictions, pairs.jsonl" in (tmp_path / "out" / "evaluation.html").read_text()


def test_command_line_writes_into_the_run_directory_and_prints_a_table(
    trained_run: Path, tiny_reviews: Path, tmp_path: Path, launch: Launch
) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    arguments = [run, "--data", tiny_reviews, "--split", "test", "--bootstrap", "100"]
    process = launch(arguments, script="evaluate.py")
    output = run / "evaluations" / "reviews-test"
    assert sorted(path.name for path in output.iterdir()) == [
        "evaluation.html",
        "evaluation.json",
        "predictions.parquet",
    ]
    for word in (str(output), "accuracy", "calibration_error", "95% interval", "(23 rows)"):
        assert word in process.stdout.replace("\n", "")
    refused = launch(arguments, script="evaluate.py", check=False)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"error: {output} exists. Choose another --output, or replace that evaluation with --overwrite."
    ]
    launch([*arguments, "--overwrite", "true"], script="evaluate.py")


def test_command_line_refuses_bad_input_in_one_line(
    trained_run: Path, tiny_reviews: Path, tmp_path: Path, launch: Launch
) -> None:
    def error(*arguments: object) -> str:
        process = launch(arguments, script="evaluate.py", check=False)
        assert process.returncode in (1, 2)
        (line,) = process.stderr.splitlines()
        return str(line)

    new = tmp_path / "new.csv"
    new.write_text("text,label\na good film,positiv\na bad film,negative\n")
    assert "--data" in error(trained_run)
    assert "no folder" in error(tmp_path / "nothing", "--data", new)
    assert "did you mean 'positive'?" in error(trained_run, "--data", new, "--output", tmp_path / "out")
    assert "several splits" in error(trained_run, "--data", tiny_reviews, "--output", tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    arguments = (trained_run, "--data", new, "--output", tmp_path / "other", "--overwrite", "true")
    assert "not an earlier evaluation" in error(*arguments)
    assert "Unknown encoding" in error(trained_run, "--data", new, "--encoding", "klingon")
    assert "new.csv is not a folder" in error(trained_run, "--data", new, "--output", new / "out")
    exported = shutil.copytree(trained_run / "model", tmp_path / "exported")
    assert "set --output" in error(exported, "--data", new)
    assert not (tmp_path / "out").exists()


def test_precision_of_the_forward_pass_is_chosen_and_recorded(
    trained_run: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    scores = {}
    for precision in ("no", "bf16"):
        result = evaluate(trained_run, tiny_reviews / "test.csv", tmp_path / precision, mixed_precision=precision)
        assert result["mixed_precision"] == precision
        scores[precision] = pq.read_table(tmp_path / precision / "predictions.parquet")["score_positive"].to_numpy()
    assert not np.array_equal(scores["no"], scores["bf16"])
    np.testing.assert_allclose(scores["bf16"], scores["no"], atol=0.02)
    with pytest.raises(ValueError, match="fp16 requires a GPU"):
        evaluate(trained_run, tiny_reviews / "test.csv", tmp_path / "fp16", mixed_precision="fp16")


def test_full_disk_is_reported_before_the_rows_are_evaluated(
    trained_run: Path, tiny_reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=500)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(Scorer, "__call__", None)  # a call is a TypeError
    with pytest.raises(StorageError, match=r"out: No space left on device"):
        evaluate(trained_run, tiny_reviews / "test.csv", tmp_path / "out")
    assert not list(tmp_path.iterdir())
