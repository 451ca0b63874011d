"""Complete runs: the checkpoint from which they start, their evaluations and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from research import Hook, RunConfig, run_experiment
from research.runner.experiment import execute_run, find_start_checkpoint
from research.system.manifest import write_manifest
from research.system.messages import logger
from research.system.signals import Paused
from research.training.api import Run
from research.training.checkpoint.find import StartCheckpoint


def test_run_is_finished_even_if_its_report_cannot_be_written(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class ReportObstacle(Hook):
        def on_train_end(self, run: Run) -> None:
            (run.directory / "report.html" / "in the way").mkdir(parents=True)

    result = run_experiment(RunConfig(**settings | {"report": True}), hooks=[ReportObstacle()])
    assert result["status"] == "finished"
    assert json.loads((Path(settings["output_dir"]) / "result.json").read_text())["status"] == "finished"
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Warning: "))
    assert "report.html" in warning
    assert "result.json" in warning


def test_messages_name_arguments_unless_the_run_was_started_by_a_command(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class Advise(Hook):
        def on_train_start(self, run: Run) -> None:
            logger.warning("Set --head.num_layers 2 or --batch_size 8.")

    run_experiment(RunConfig(**settings), hooks=[Advise()])
    assert 'Warning: Set head={"name": ..., "num_layers": 2} or batch_size=8.' in capsys.readouterr().out.splitlines()
    execute_run(RunConfig(**settings, overwrite=True), hooks=[Advise()])
    assert "Warning: Set --head.num_layers 2 or --batch_size 8." in capsys.readouterr().out.splitlines()


def test_paused_run_records_its_times(settings: dict[str, Any], tmp_path: Path) -> None:
    past = tmp_path / "past"
    settings |= {"output_dir": str(past), "max_steps": 2}
    with pytest.raises(Paused):
        run_experiment(RunConfig(**settings, pause_at="50%"))
    paused = json.loads((past / "result.json").read_text())
    assert paused["status"] == "paused"
    assert 0 < paused["train_seconds"] / 3600 < paused["device_hours"]
    resumed = run_experiment(RunConfig(**settings, resume="auto"))
    assert resumed["device_hours"] > paused["device_hours"]


def test_result_counts_all_parameters_with_adapters(settings: dict[str, Any]) -> None:
    counts = []

    class CountParameters(Hook):
        def on_train_end(self, run: Run) -> None:
            counts.append(sum(parameter.numel() for parameter in run.model.parameters()))

    plain = run_experiment(RunConfig(**settings), hooks=[CountParameters()])
    with_adapters = run_experiment(RunConfig(**settings, peft="lora", overwrite=True), hooks=[CountParameters()])
    assert [plain["total_parameters"], with_adapters["total_parameters"]] == counts
    assert counts[0] < counts[1]
    assert with_adapters["trainable_parameters"] < with_adapters["total_parameters"]


def test_best_model_is_not_evaluated_again_if_it_is_the_last(settings: dict[str, Any]) -> None:
    evaluated = []

    class RecordEvaluations(Hook):
        def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
            evaluated.append(split)

    result = run_experiment(RunConfig(**settings, best_metric="loss"), hooks=[RecordEvaluations()])
    assert result["tested"] == "best"
    assert evaluated == ["validation", "test"]


@pytest.fixture
def settings(tiny_encoder: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of a run on data with 90 rows per split and 45 labels, which are more than MANY_LABELS."""
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
        "report": False,
        "output_dir": str(tmp_path / "run"),
    }


def test_report_of_a_run_with_many_labels_has_tables_instead_of_confusion_matrices(settings: dict[str, Any]) -> None:
    result = run_experiment(RunConfig(**settings | {"report": True}))
    directory = Path(settings["output_dir"])
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert "Confusion matrix" not in page
    assert page.count('<details class="labels">') == 2  # one table each for validation and test
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


def test_multi_label_run_with_many_labels_prints_no_label_metrics_and_writes_predictions(
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
    assert table.column("label_name").to_pylist()[3] == [
        "kind 10",
        "kind 3",
    ]  # in alphabetical order
    assert (labels == predicted).all(axis=1).mean() == result["metrics"]["test"]["subset_accuracy"]


def test_predictions_file_does_not_depend_on_the_block_size(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Path(settings["output_dir"])
    run_experiment(RunConfig(**settings))
    expected = pq.read_table(directory / "predictions" / "test.parquet")
    # A block of 7 rows of 45 scores, with 8 bytes each
    monkeypatch.setattr("research.records.predictions_file.PREDICTIONS_BLOCK_BYTES", 8 * 45 * 7)
    run_experiment(RunConfig(**settings, overwrite=True))
    file = pq.ParquetFile(directory / "predictions" / "test.parquet")
    assert file.num_row_groups == 13  # 90 rows, 7 at a time
    assert file.read().equals(expected)


def test_find_start_checkpoint_returns_the_checkpoint_that_the_settings_specify(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in (2, 4):
        checkpoint = run / "checkpoints" / f"step-{step:08d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_text("intact")
        write_manifest(checkpoint)
    (run / "checkpoints" / "step-00000004" / "weights").write_text("damaged")
    intact = run / "checkpoints" / "step-00000002"
    assert find_start_checkpoint(RunConfig(), run) is None
    assert find_start_checkpoint(RunConfig(resume="auto", output_dir=str(run)), run) == StartCheckpoint(intact)
    assert find_start_checkpoint(RunConfig(resume="auto", output_dir="new"), tmp_path / "new") is None
    assert find_start_checkpoint(RunConfig(resume=str(intact)), tmp_path / "new") == StartCheckpoint(intact)
    assert find_start_checkpoint(RunConfig(resume="auto"), run, is_restart=True) == StartCheckpoint(intact)
    with pytest.raises(ValueError, match="--name or --output_dir"):
        find_start_checkpoint(RunConfig(resume="auto"), run)
    with pytest.raises(ValueError, match=r"step-00000004 .*--resume"):
        find_start_checkpoint(RunConfig(resume=str(run / "checkpoints" / "step-00000004")), run)
    (run / "config.yaml").write_text("{}")  # without this file, the folder is not a run that can be forked
    assert find_start_checkpoint(RunConfig(fork=f"{run}@2"), tmp_path / "new") == StartCheckpoint(intact, is_fork=True)
    with pytest.raises(ValueError, match="step 3"):
        find_start_checkpoint(RunConfig(fork=f"{run}@3"), tmp_path / "new")
