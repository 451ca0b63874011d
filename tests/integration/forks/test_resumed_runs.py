"""Runs that continue in another directory, with other processes, after a stop, or from an earlier checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from research import Hook
from research.training.api import Run
from tests.builders.run_files import lines_of, without_times
from tests.conftest import ROOT, Launch
from tests.integration.forks.conftest import Train


def test_resume_in_another_directory_copies_metrics_and_best_model(
    settings: dict[str, Any], fork: Train, parent: Path, tmp_path: Path
) -> None:
    first = fork("first", best_metric="accuracy", fork=None)
    checkpoint = tmp_path / "first" / "checkpoints" / "step-00000008"
    moved = fork("moved", best_metric="accuracy", fork=None, resume=str(checkpoint))
    assert moved["metrics"] == first["metrics"]
    assert without_times(lines_of(tmp_path / "moved")) == without_times(lines_of(tmp_path / "first"))
    best = [load_file(tmp_path / run / "best" / "model.safetensors") for run in ("first", "moved")]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_run_resumes_with_other_processes_and_micro_batches(
    launch: Launch, settings: dict[str, Any], tmp_path: Path, first: int, then: int
) -> None:
    without_dropout = {
        **settings,
        "dropout": 0.0,
        "head": {"name": "linear", "dropout": 0.0},
        "optimizer": "sgd",  # Adam turns rounding errors of gradients near 0 into whole steps
        "lr": 0.1,
        "hook": [],
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump({**without_dropout, "plugin": [str(ROOT / "tests" / "plugins" / "fail_at_step.py")]})
    )
    run = ["--recipe", recipe, "--hook", "fail_at_step"]
    launch([*run, "--output_dir", tmp_path / "whole"], num_processes=first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIL_AT_STEP", "7")
        done = launch([*run, "--output_dir", tmp_path / "cut"], num_processes=first, check=False)
    assert done.returncode != 0
    other = ["--micro_batch_size", "2", "--resume", "auto", "--output_dir", tmp_path / "cut"]
    done = launch([*run, *other], num_processes=then)
    assert f"{first} processes on cpu before, {then} on cpu now" in done.stdout
    assert "micro_batch_size was 8, now 2" in done.stdout
    lines = [without_times(lines_of(tmp_path / name)) for name in ("whole", "cut")]
    assert lines[0][:4] == lines[1][:4]
    for before, after in zip(*lines, strict=True):
        assert before.keys() == after.keys()
        for name in before:
            assert after[name] == pytest.approx(before[name], rel=1e-4, abs=1e-5), (before["step"], name)
    models = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut")]
    assert all(torch.allclose(models[0][name], models[1][name], rtol=1e-4, atol=1e-6) for name in models[0])


def test_run_that_was_stopped_early_stays_stopped(fork: Train, tmp_path: Path) -> None:
    still: dict[str, Any] = {
        "fork": None,
        "lr": 1e-12,
        "head_lr": 1e-12,
        "evaluate_every": "1st",
        "patience": 2,
        "hook": [],
    }
    first = fork("first", **still)
    assert first["steps"] == 3
    (tmp_path / "first" / "result.json").unlink()  # as if it had been killed while it finished
    again = fork("first", **still, resume="auto")
    assert (again["steps"], again["stopped_because"]) == (3, first["stopped_because"])
    assert again["weights_sha256"] == first["weights_sha256"]


def test_stop_requested_after_the_last_boundary_survives_a_resume(fork: Train, tmp_path: Path) -> None:
    class StopsLate(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 4:
                run.stop("enough")

    first = fork("first", hooks=[StopsLate()], fork=None)
    assert (first["steps"], first["stopped_because"]) == (5, "enough")
    checkpoint = str(tmp_path / "first" / "checkpoints" / "step-00000004")
    again = fork("again", hooks=[StopsLate()], fork=None, resume=checkpoint)
    assert (again["steps"], again["weights_sha256"]) == (5, first["weights_sha256"])


def test_resume_from_an_earlier_checkpoint_deletes_later_checkpoints(
    fork: Train, settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Fails(Hook):
        def __init__(self, step: int | None = None) -> None:
            self.step = step

        def end_of_step(self, run: Run) -> None:
            if run.clock.step == self.step:
                raise ValueError("enough")

    checkpoints = tmp_path / "run" / "checkpoints"
    saves: dict[str, Any] = {"fork": None, "save_every": "2st"}
    whole = fork("run", hooks=[Fails()], **saves)
    earlier = str(checkpoints / "step-00000004")
    with pytest.raises(ValueError, match="enough"):
        fork("run", keep=2, resume=earlier, hooks=[Fails(7)], **saves)
    assert [path.name for path in sorted(checkpoints.iterdir())] == ["step-00000004", "step-00000006"]
    capsys.readouterr()
    again = fork("run", keep=2, resume="auto", hooks=[Fails()], **saves)
    assert again["resumed_from"] == "step-00000006"
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert [path.name for path in sorted(checkpoints.iterdir())] == ["step-00000010", "step-00000012"]
