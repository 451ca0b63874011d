"""calibrate.py, which calibrates the model of a finished run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from research.inference.saved_model import load_model
from research.learning.calibration import CalibrationRequest
from research.runner import calibrate_finished as module
from research.runner.calibrate_finished import calibrate_finished
from research.system.durable import StorageError
from research.tasks.thresholds import Criterion
from tests.conftest import Launch
from tests.research.runner.conftest import Train

BOTH = CalibrationRequest(temperature=True, criterion=Criterion("f1"))
THRESHOLDS = CalibrationRequest(temperature=False, criterion=Criterion("recall", 0.5))


@pytest.fixture(scope="module")
def finished(train: Train, tags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished multi-label run with a report, whose best model was tested; tests calibrate copies of it."""
    directory = tmp_path_factory.mktemp("runs") / "tags"
    train(directory, data=str(tags), report=True, best_metric="loss")
    return directory


@pytest.fixture
def run(finished: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    return shutil.copytree(finished, tmp_path / "run")


def contents(directory: Path) -> dict[str, bytes]:
    """Return the content of every file that a calibration may change."""
    names = ("result.json", "report.html", "best/config.json", "best/model.safetensors")
    return {name: (directory / name).read_bytes() for name in (*names, *predictions_of(directory))}


def predictions_of(directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in sorted(directory.glob("predictions/*.parquet"))]


def test_calibrating_a_finished_run_gives_what_the_run_gives_with_these_settings(
    run: Path, train: Train, tags: Path, tmp_path: Path
) -> None:
    calibrate_finished(run, BOTH)
    settings = {"data": str(tags), "best_metric": "loss", "calibrate": True, "thresholds": "f1"}
    expected = train(tmp_path / "expected", **settings)["calibration"]
    result = json.loads((run / "result.json").read_text())
    actual = result["calibration"]
    assert (actual["temperature"], actual["thresholds"]) == (expected["temperature"], expected["thresholds"])
    for split in ("validation", "test"):
        for state in ("before", "after"):
            assert actual["metrics"][split][state] == pytest.approx(expected["metrics"][split][state], abs=1e-6)
    model, expected_model = (load_model(directory / "best").model for directory in (run, tmp_path / "expected"))
    assert model.config.thresholds == expected_model.config.thresholds
    np.testing.assert_allclose(model.logit_scale, expected_model.logit_scale, rtol=1e-6)
    ours, theirs = (
        pq.read_table(directory / "predictions" / "test.parquet").to_pandas()
        for directory in (run, tmp_path / "expected")
    )
    assert ours["prediction_name"].map(list).tolist() == theirs["prediction_name"].map(list).tolist()
    np.testing.assert_allclose(ours["score_good"], theirs["score_good"], atol=1e-6)
    assert 'id="thresholds"' in (run / "report.html").read_text()


def test_calibrating_twice_gives_the_same_as_once(run: Path) -> None:
    calibrate_finished(run, BOTH)
    once = contents(run)
    calibrate_finished(run, BOTH)
    assert contents(run) == once


def test_calibration_replaces_an_earlier_one(run: Path, finished: Path, tmp_path: Path) -> None:
    calibrate_finished(run, BOTH)
    result = calibrate_finished(run, THRESHOLDS)
    assert result["calibration"]["temperature"] is None
    fresh = shutil.copytree(finished, tmp_path / "fresh")
    expected = calibrate_finished(fresh, THRESHOLDS)
    assert result["calibration"]["thresholds"] == expected["calibration"]["thresholds"]
    assert load_model(run).model.config.calibration_temperature == 1
    np.testing.assert_allclose(load_model(run).model.logit_scale, 1, rtol=1e-6)
    for name in predictions_of(run):
        ours, theirs = (pq.read_table(directory / name).to_pandas() for directory in (run, fresh))
        np.testing.assert_allclose(ours["score_bad"], theirs["score_bad"], rtol=1e-9)


@pytest.mark.parametrize("step", ["update_predictions_file", "apply_to_model", "save_model", "_update_report"])
def test_calibration_that_is_interrupted_is_completed_by_the_same_command(
    run: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    calibrate_finished(run, THRESHOLDS)
    complete: Callable[..., Any] = getattr(module, step)
    calls = 0

    def interrupt(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        complete(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            calibrate_finished(run, BOTH)
    assert calls == 1
    assert "calibration" not in json.loads((run / "result.json").read_text())
    result = calibrate_finished(run, BOTH)
    expected = calibrate_finished(shutil.copytree(finished, tmp_path / "fresh"), BOTH)["calibration"]
    assert {name: result["calibration"][name] for name in ("temperature", "thresholds")} == {
        name: expected[name] for name in ("temperature", "thresholds")
    }
    model = load_model(run).model
    np.testing.assert_allclose(model.logit_scale, 1 / expected["temperature"], rtol=1e-6)


def test_calibration_without_space_for_the_model_changes_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(run)
    usage = shutil.disk_usage(run)._replace(free=(run / "best" / "model.safetensors").stat().st_size)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match=r"best: No space left"):
        calibrate_finished(run, BOTH)
    assert contents(run) == before


def test_report_is_not_updated_if_the_data_are_missing(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (run / "config.yaml").read_text()
    data = next(line for line in settings.splitlines() if line.startswith("data:"))
    (run / "config.yaml").write_text(settings.replace(data, "data: gone.csv"))
    report = (run / "report.html").read_bytes()
    calibrate_finished(run, BOTH)
    assert "Warning: report.html is not updated" in capsys.readouterr().out
    assert (run / "report.html").read_bytes() == report
    assert load_model(run).model.config.thresholds is not None


def test_command_line_prints_metrics_before_and_after(run: Path, launch: Launch) -> None:
    process = launch([run, "--temperature", "true", "--thresholds", "f1"], script="calibrate.py")
    for word in ("temperature", "thresholds for f1", "f1_macro", "log_loss", "calibration_error", "test, before"):
        assert word in process.stdout


def test_command_line_refuses_what_it_cannot_calibrate(
    run: Path, finished_run: Path, tmp_path: Path, launch: Launch
) -> None:
    def error(*arguments: object) -> str:
        process = launch(arguments, script="calibrate.py", check=False)
        assert process.returncode in (1, 2)
        (line,) = process.stderr.splitlines()
        return str(line)

    assert "--temperature true, --thresholds" in error(run)
    assert "no folder" in error(tmp_path / "nothing", "--temperature", "true")
    assert "precision=<target>" in error(run, "--thresholds", "f2")
    assert "single_label" in error(finished_run, "--thresholds", "f1")
    assert "not the tested model" in error(run / "model", "--temperature", "true")
    exported = shutil.copytree(run / "best", tmp_path / "exported")
    assert "not in a run directory" in error(exported, "--temperature", "true")
    (run / "predictions" / "validation.parquet").unlink()
    assert "validation.parquet: there is no such file" in error(run, "--temperature", "true")
    (run / "result.json").unlink()
    assert "not finished" in error(run, "--temperature", "true")
