"""Runs of experiments/run.py from the command line, with a tiny encoder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.builders.run_files import metrics_lines_of, result_of, without_speed
from tests.conftest import ROOT, Launch

QUICK_RUN_FLAGS = ("--max_length=64", "--batch_size=8", "--log_every=1", "--mixed_precision=no", "--report=false")


@pytest.fixture(scope="module")
def flags(tiny_encoder: Path, tiny_reviews: Path) -> list[str]:
    return ["--encoder", str(tiny_encoder), "--data", str(tiny_reviews), *QUICK_RUN_FLAGS]


def test_run_writes_the_documented_files(launch: Launch, flags: list[str], tmp_path: Path) -> None:
    directory = tmp_path / "run"
    extra_flags = ["--head", "lstm", "--head.lstm_size", "8", "--best_metric", "accuracy"]
    extra_flags += ["--save_every", "2st", "--report", "true"]
    done = launch([*flags, *extra_flags, "--output_dir", directory], num_processes=1)
    assert {path.name for path in directory.iterdir()} == {
        "best",
        "checkpoints",
        "config.yaml",
        "journal.jsonl",
        "metrics.jsonl",
        "model",
        "predictions",
        "report.html",
        "result.json",
        "tensorboard",
    }
    result = result_of(directory)
    assert (result["status"], result["steps"], result["epochs"], result["world_size"]) == ("finished", 6, 1.0, 1)
    assert isinstance(result["train_seconds"], float)
    assert isinstance(result["device_hours"], float)
    assert result["device_hours"] > result["train_seconds"] / 3600
    assert result["rows"] == {"train": 47, "validation": 19, "test": 23}  # the rows of tiny_reviews
    table = pq.read_table(directory / "predictions" / "test.parquet").to_pydict()
    assert list(table) == [
        *("id", "file", "row", "label", "prediction", "label_name", "prediction_name"),
        "score_negative",
        "score_positive",
    ]
    assert table["id"] == list(range(23))
    num_correct = sum(
        label == prediction for label, prediction in zip(table["label"], table["prediction"], strict=True)
    )
    metrics = result["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["test"]["accuracy"] == pytest.approx(num_correct / 23)
    lines = metrics_lines_of(directory)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "gradient_norm", "learning_rate/head", "learning_rate/layer.0"} <= lines[0].keys()
    assert "validation/accuracy" in lines[2]
    assert "validation/accuracy" in lines[5]
    assert sorted(path.name for path in (directory / "checkpoints").iterdir()) == ["step-00000004", "step-00000006"]
    assert "accuracy" in done.stdout
    assert "\r" not in done.stderr, "a progress bar was drawn without a terminal"


def test_run_can_be_repeated_from_its_config(launch: Launch, flags: list[str], tmp_path: Path) -> None:
    first, repeated = tmp_path / "first", tmp_path / "repeated"
    launch([*flags, "--head", "gru", "--head.gru_size", "4", "--output_dir", first])
    launch(["--recipe", first / "config.yaml", "--output_dir", repeated])
    assert result_of(first)["weights_sha256"] == result_of(repeated)["weights_sha256"]
    assert yaml.safe_load((first / "config.yaml").read_text()) == yaml.safe_load((repeated / "config.yaml").read_text())
    assert yaml.safe_load((first / "config.yaml").read_text())["head"] == {
        "name": "gru",
        "gru_size": 4,
        "num_layers": 1,
        "dropout": 0.1,
        "pooling": "mean",
    }
    assert without_speed(metrics_lines_of(first)) == without_speed(metrics_lines_of(repeated))


def test_seed_changes_the_weights_but_not_the_test_rows(launch: Launch, flags: list[str], tmp_path: Path) -> None:
    for seed in (0, 1):
        launch([*flags, "--seed", seed, "--max_steps", "2", "--limit_test", "9", "--output_dir", tmp_path / str(seed)])
    assert result_of(tmp_path / "0")["weights_sha256"] != result_of(tmp_path / "1")["weights_sha256"]
    tables = [pq.read_table(tmp_path / str(seed) / "predictions" / "test.parquet").to_pydict() for seed in (0, 1)]
    assert tables[0]["label"] == tables[1]["label"]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_run_that_failed_mid_epoch_resumes_with_the_same_bits(
    launch: Launch, flags: list[str], tmp_path: Path, num_processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted, failed = tmp_path / "uninterrupted", tmp_path / "failed"
    extra_flags = ["--epochs", "2", "--save_every", "4st", "--keep", "9", "--head", "lstm", "--head.lstm_size", "8"]
    extra_flags += ["--freeze", "encoder.layer[0]", "--hook", "ema", "--evaluate_every", "2st"]
    for entry in ("{at: 2st, unfreeze: encoder}", "{at: 3st, replace_head: gru}", "{at: 6st, add_lora: {r: 2}}"):
        extra_flags += ["--timeline", entry]
    plugin = ["--plugin", str(ROOT / "tests" / "plugins" / "fail_at_step.py"), "--hook", "fail_at_step"]
    run_flags = [*flags, *extra_flags, *plugin]
    launch([*run_flags, "--output_dir", uninterrupted], num_processes=num_processes)
    monkeypatch.setenv("FAIL_AT_STEP", "7")
    done = launch([*run_flags, "--output_dir", failed], num_processes=num_processes, check=False)
    monkeypatch.delenv("FAIL_AT_STEP")
    assert done.returncode != 0
    assert result_of(failed)["status"] == "failed"
    launch([*run_flags, "--output_dir", failed, "--resume", "auto"], num_processes=num_processes)
    assert result_of(failed)["resumed_from"] == "step-00000004"
    assert result_of(failed)["weights_sha256"] == result_of(uninterrupted)["weights_sha256"]
    assert without_speed(metrics_lines_of(failed)) == without_speed(metrics_lines_of(uninterrupted))
    assert result_of(failed)["metrics"] == result_of(uninterrupted)["metrics"]
    done = launch([*run_flags, "--output_dir", failed, "--resume", "auto"], num_processes=num_processes)
    assert "is finished" in done.stdout


def test_resume_with_changed_settings_is_refused(launch: Launch, flags: list[str], tmp_path: Path) -> None:
    run_flags = [*flags, "--output_dir", tmp_path / "run", "--save_every", "2st"]
    launch([*run_flags, "--max_steps", "3"])
    (tmp_path / "run" / "result.json").unlink()
    done = launch([*run_flags, "--max_steps", "3", "--lr", "5e-5", "--resume", "auto"], check=False)
    assert done.returncode == 1
    assert "lr was 0.0001, now 5e-05" in done.stderr
    assert "Traceback" not in done.stderr


def test_resume_skips_a_damaged_checkpoint_with_a_message(launch: Launch, flags: list[str], tmp_path: Path) -> None:
    run_flags = [*flags, "--output_dir", tmp_path / "run", "--save_every", "2st"]
    launch(run_flags)
    (tmp_path / "run" / "result.json").unlink()
    weights = tmp_path / "run" / "checkpoints" / "step-00000006" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # flip a bit
    weights.write_bytes(content)
    done = launch([*run_flags, "--resume", "auto"])
    assert re.search(r"step-00000006.*model\.safetensors", done.stdout)
    assert "step-00000004" in done.stdout


def test_resume_without_a_checkpoint_starts_over(launch: Launch, flags: list[str], tmp_path: Path) -> None:
    launch([*flags, "--max_steps", "1", "--output_dir", tmp_path / "run", "--resume", "auto"])
    result = result_of(tmp_path / "run")
    assert (result["status"], result["resumed_from"]) == ("finished", None)


def test_overwrite_is_required_for_a_run_directory_and_refused_for_any_other_folder(
    launch: Launch, flags: list[str], tmp_path: Path
) -> None:
    run_flags = [*flags, "--max_steps", "1", "--output_dir", tmp_path / "run"]
    launch(run_flags)
    done = launch(run_flags, check=False)
    assert done.returncode == 1
    assert "exists" in done.stderr
    assert "--overwrite" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    launch([*run_flags, "--overwrite"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = launch([*flags, "--output_dir", tmp_path / "mine", "--overwrite"], check=False)
    assert done.returncode == 1
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_init_from_starts_with_the_model_of_a_finished_run_and_refuses_a_missing_or_different_one(
    launch: Launch, flags: list[str], tmp_path: Path
) -> None:
    launch([*flags, "--head", "mean", "--output_dir", tmp_path / "first"])
    # With these learning rates, the step hardly changes the weights.
    one_step_flags = ["--max_steps", "1", "--lr", "1e-12", "--head_lr", "1e-12", "--output_dir", tmp_path / "continued"]
    launch([*flags, "--head", "mean", *one_step_flags, "--init_from", tmp_path / "first"])
    first, continued = result_of(tmp_path / "first")["metrics"], result_of(tmp_path / "continued")["metrics"]
    assert isinstance(first, dict)
    assert isinstance(continued, dict)
    assert continued["test"]["loss"] == pytest.approx(first["test"]["loss"], rel=1e-4)
    done = launch(
        [*flags, "--head", "max", *one_step_flags, "--overwrite", "--init_from", tmp_path / "nothing"], check=False
    )
    assert f"'{tmp_path / 'nothing'}' for --init_from" in done.stderr
    done = launch(
        [*flags, "--head", "lstm", *one_step_flags, "--overwrite", "--init_from", tmp_path / "first"], check=False
    )
    assert re.search(r"first.*\bhead lstm\b", done.stderr)


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_evaluation_counts_every_row_once(
    launch: Launch, flags: list[str], tmp_path: Path, num_processes: int, batch_size: int
) -> None:
    launch(
        [*flags, "--max_steps", "1", "--evaluation_batch_size", batch_size, "--output_dir", tmp_path / "run"],
        num_processes=num_processes,
    )
    for split, num_rows in (("validation", 19), ("test", 23)):
        table = pq.read_table(tmp_path / "run" / "predictions" / f"{split}.parquet").to_pydict()
        assert table["id"] == list(range(num_rows))
        assert table["label"] == [row % 2 for row in range(num_rows)]


def test_early_stopping_ends_a_run(launch: Launch, flags: list[str], tmp_path: Path) -> None:
    extra_flags = ["--epochs", "5", "--lr", "1e-12", "--best_metric", "accuracy"]
    extra_flags += ["--evaluate_every", "1st", "--patience", "2"]  # after every step
    launch([*flags, *extra_flags, "--output_dir", tmp_path / "run"])
    result = result_of(tmp_path / "run")
    assert result["steps"] == 3
    assert re.match(r"accuracy .*\b2\b", str(result["stopped_because"]))


def test_nonfinite_loss_is_an_error_with_step_and_rows_or_skips_the_step(
    launch: Launch, flags: list[str], tmp_path: Path
) -> None:
    plugin = ["--plugin", str(ROOT / "tests" / "plugins" / "fail_at_step.py"), "--hook", "poison"]
    run_flags = [*flags, *plugin, "--output_dir", tmp_path / "run"]  # `poison` makes a loss NaN in step 3
    for num_processes in (1, 2):
        done = launch([*run_flags, "--overwrite"], num_processes=num_processes, check=False)
        assert done.returncode != 0
        assert "Step 3: the loss (nan)" in done.stderr
        assert "rows 1" in done.stderr
    launch([*run_flags, "--overwrite", "--on_nonfinite", "skip"])
    result = result_of(tmp_path / "run")
    assert (result["status"], result["skipped_steps"]) == ("finished", 1)


def test_smoke_run_writes_all_files_in_three_steps(launch: Launch, flags: list[str], tmp_path: Path) -> None:
    launch([*flags, "--smoke", "--profile", "--output_dir", tmp_path / "run"])
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"checkpoints", "config.yaml", "metrics.jsonl", "model", "predictions", "profile", "result.json"} <= names
    (trace,) = (tmp_path / "run" / "profile").iterdir()
    assert json.loads(trace.read_text())["traceEvents"]
    assert result_of(tmp_path / "run")["steps"] == 3


def test_launch_with_unconnected_processes_is_refused(
    launch: Launch, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if srun had started two processes that do not know of each other.
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    done = launch([*flags, "--output_dir", tmp_path / "run"], check=False)
    assert done.returncode == 1
    assert re.search(r"2 processes .* 1\b", done.stderr)
    assert not (tmp_path / "run").exists()
