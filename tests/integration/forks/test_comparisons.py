"""A resumed run or fork is compared with its checkpoint: settings, rows, best metric values and early stopping."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from research.runner.same_run import DifferentRunError
from research.training.checkpoint.find import CheckpointError
from tests.builders.run_files import journal_of, metrics_lines_of, result_of
from tests.integration.forks.conftest import Train


def test_fork_cannot_change_settings_that_its_checkpoint_depends_on(fork: Train, tmp_path: Path) -> None:
    for changed in ({"seed": 1}, {"batch_size": 4}, {"optimizer": "sgd"}, {"limit_train": 40}):
        (name,) = changed
        with pytest.raises(CheckpointError, match=rf"step-00000004 .*\b{name} was .*, now"):
            fork(**changed)
    # With one epoch, the fork would end before the step of its checkpoint.
    with pytest.raises(CheckpointError, match=r"6 steps .*step 8"):
        fork(step=8, epochs=1, timeline=[{"at": "2st", "freeze": "encoder.layer[0]"}])
    assert not (tmp_path / "fork").exists()


def test_resume_applies_changed_harmless_settings_with_a_message(
    train: Train, parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(parent / "checkpoints" / "step-00000008")
    result = train("resumed", resume=checkpoint, log_every=3, save_every=None, on_nonfinite="skip")
    assert result["weights_sha256"] == result_of(parent)["weights_sha256"]
    printed = capsys.readouterr().out
    for message in ("log_every was 1, now 3", "save_every was '4st', now None", "on_nonfinite was 'error', now 'skip'"):
        assert message in printed


def test_resume_refuses_changed_training_settings_and_names_the_fork_command(train: Train, parent: Path) -> None:
    checkpoint = parent / "checkpoints" / "step-00000008"
    with pytest.raises(CheckpointError) as error_info:
        train("resumed", resume=str(checkpoint), seed=3, lr=1e-5, max_length=16)
    message = str(error_info.value)
    for change in ("seed was 0, now 3", "lr was 0.0001, now 1e-05", "max_length was 32, now 16"):
        assert change in message
    assert f'fork="{parent}@step-8"' in message


def test_resume_refuses_changed_rows_but_accepts_moved_files(
    train: Train, parent: Path, tiny_reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in tiny_reviews.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    checkpoint = str(parent / "checkpoints" / "step-00000008")
    result = train("resumed", resume=checkpoint, data=str(moved))
    assert result["weights_sha256"] == result_of(parent)["weights_sha256"]
    assert re.search(rf"data was '{tiny_reviews}', now '{moved}' .*the same", capsys.readouterr().out)
    train_file = moved / "train.csv"
    train_file.write_text(train_file.read_text().replace("good", "great", 1))
    with pytest.raises(CheckpointError, match="data was"):
        train("changed_rows", resume=checkpoint, data=str(moved))


def test_resume_of_a_finished_run_returns_its_result_unless_training_settings_changed(
    train: Train, settings: dict[str, Any], parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(settings["data"], tmp_path / "moved")
    for harmless in ({}, {"mixed_precision": "auto"}, {"log_every": 3, "data": str(tmp_path / "moved")}):
        result = train("parent", output_dir=str(parent), resume="auto", **harmless)
        assert result == result_of(parent)
    printed = capsys.readouterr().out
    assert "log_every was 1, now 3" in printed
    assert re.search(rf"data was .*, now '{tmp_path / 'moved'}' .*the same", printed)
    for name, value in {
        "lr": 5e-3,
        "head": "lstm",
        "max_steps": 20,
        "objective": "focal",
        "mixed_precision": "bf16",
        "seed": 1,
        "limit_train": 40,
        "timeline": [],
    }.items():
        with pytest.raises(DifferentRunError, match=rf"finished .*\b{name} was"):
            train("parent", output_dir=str(parent), resume="auto", **{name: value})
    assert result_of(parent) == result


def test_resume_in_the_directory_of_another_run_is_refused(train: Train, parent: Path, tmp_path: Path) -> None:
    different_run = tmp_path / "different_run"
    train("different_run", seed=1, timeline=[], max_steps=8)
    checkpoint = str(parent / "checkpoints" / "step-00000004")
    with pytest.raises(DifferentRunError, match=rf"{different_run}: .*seed was 1, now 0"):
        train("different_run", resume=checkpoint)
    assert [path.name for path in sorted((different_run / "checkpoints").iterdir())] == [
        "step-00000004",
        "step-00000008",
    ]
    assert result_of(different_run)["steps"] == 8
    interrupted = tmp_path / "interrupted"  # as if the same command had been interrupted before
    interrupted.mkdir()
    shutil.copy(parent / "config.yaml", interrupted)
    assert train("interrupted", resume=checkpoint)["weights_sha256"] == result_of(parent)["weights_sha256"]


def test_fork_drops_the_best_model_if_best_metric_or_max_length_changes(
    train: Train, fork: Train, settings: dict[str, Any], tmp_path: Path
) -> None:
    # The fork must compare its losses only with each other, not with the best accuracy of its parent.
    train("first", best_metric="accuracy", timeline=[])
    checkpoint = f"{tmp_path / 'first'}@4"
    by_loss = fork("by_loss", fork=checkpoint, best_metric="loss", timeline=[])
    unforked = train("unforked", best_metric="loss", timeline=[])
    assert by_loss["tested"] == "best"
    losses_after_fork = [  # from the lines after step 4
        line["validation/loss"] for line in metrics_lines_of(tmp_path / "by_loss")[4:] if "validation/loss" in line
    ]
    assert by_loss["metrics"]["validation"]["loss"] == pytest.approx(min(losses_after_fork))
    assert unforked["metrics"]["validation"]["loss"] <= by_loss["metrics"]["validation"]["loss"]
    # The best accuracy on longer inputs is dropped too, even if all accuracies on shorter inputs are worse.
    shorter = {"max_length": 4, "lr": 1e-12, "head_lr": 1e-12}
    fork("shorter", fork=checkpoint, best_metric="accuracy", timeline=[], **shorter)
    assert json.loads((tmp_path / "shorter" / "best" / "config.json").read_text())["max_input_length"] == 4


def test_fork_resets_early_stopping_if_metric_values_are_not_comparable(
    train: Train, fork: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_progress: dict[str, Any] = {
        "lr": 1e-12,
        "head_lr": 1e-12,
        "evaluate_every": "1st",  # after every step
        "patience": 6,
        "hook": [],
        "schedule": "plateau",  # halves the rates after evaluations 3, 5, 7 and so on
        "timeline": [{"when": "plateau(validation/accuracy, 5)", "set_dropout": 0.0}],
    }
    # The first evaluation is the best, and six more follow.
    assert train("first", **no_progress)["steps"] == 7
    capsys.readouterr()
    checkpoint = f"{tmp_path / 'first'}@4"
    unchanged = fork("unchanged", fork=checkpoint, **no_progress)
    assert unchanged["steps"] == 7
    assert journal_of(tmp_path / "unchanged") == [(6, "set_dropout")]
    # Changed settings, step of the edit in the timeline, and factor of the learning rate at step 6.
    cases: list[tuple[dict[str, Any], int, float]] = [
        ({"best_metric": "accuracy"}, 6, 0.25),
        ({"objective": "focal"}, 6, 0.5),
        ({"max_length": 6}, 10, 0.5),
        ({"truncation": "tail"}, 10, 0.5),
    ]
    for number, (changed, condition_step, lr_factor) in enumerate(cases):
        name = f"changed-{number}"
        result = fork(name, fork=checkpoint, **no_progress | changed)
        assert result["steps"] == 11
        assert "Early stopping is reset" in capsys.readouterr().out
        assert journal_of(tmp_path / name) == [(condition_step, "set_dropout")]
        assert metrics_lines_of(tmp_path / name)[5]["learning_rate/head"] == pytest.approx(
            lr_factor * no_progress["head_lr"]
        )
