"""Resumes in another directory, with a different number of processes, after a stop, and from earlier checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from research import Hook
from research.training.api import Run
from tests.builders.run_files import metrics_lines_of, without_speed
from tests.conftest import ROOT, Launch
from tests.integration.forks.conftest import Train


def test_resume_in_another_directory_copies_metrics_and_best_model(train: Train, tmp_path: Path) -> None:
    first = train("first", best_metric="accuracy")
    checkpoint = tmp_path / "first" / "checkpoints" / "step-00000008"
    moved = train("moved", best_metric="accuracy", resume=str(checkpoint))
    assert moved["metrics"] == first["metrics"]
    assert without_speed(metrics_lines_of(tmp_path / "moved")) == without_speed(metrics_lines_of(tmp_path / "first"))
    best = [load_file(tmp_path / run / "best" / "model.safetensors") for run in ("first", "moved")]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


@pytest.mark.parametrize(("num_processes_before", "num_processes_after"), [(1, 2), (2, 1)])
def test_run_resumes_with_a_different_number_of_processes_and_micro_batch_size(
    launch: Launch, settings: dict[str, Any], tmp_path: Path, num_processes_before: int, num_processes_after: int
) -> None:
    without_dropout = {
        **settings,
        "dropout": 0.0,
        "head": {"name": "linear", "dropout": 0.0},
        "optimizer": "sgd",  # Adam turns rounding errors of gradients near 0 into steps of full size
        "lr": 0.1,
        "hook": [],
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump({**without_dropout, "plugin": [str(ROOT / "tests" / "plugins" / "fail_at_step.py")]})
    )
    run = ["--recipe", recipe, "--hook", "fail_at_step"]
    launch([*run, "--output_dir", tmp_path / "uninterrupted"], num_processes=num_processes_before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIL_AT_STEP", "7")
        done = launch([*run, "--output_dir", tmp_path / "failed"], num_processes=num_processes_before, check=False)
    assert done.returncode != 0
    changed_flags = ["--micro_batch_size", "2", "--resume", "auto", "--output_dir", tmp_path / "failed"]
    done = launch([*run, *changed_flags], num_processes=num_processes_after)
    assert f"{num_processes_before} processes on cpu before, {num_processes_after} on cpu now" in done.stdout
    assert "micro_batch_size was 8, now 2" in done.stdout
    lines = [without_speed(metrics_lines_of(tmp_path / name)) for name in ("uninterrupted", "failed")]
    assert lines[0][:4] == lines[1][:4]  # up to the checkpoint, both runs have the same number of processes
    for expected, line in zip(*lines, strict=True):
        assert expected.keys() == line.keys()
        for name in expected:
            assert line[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), (expected["step"], name)
    models = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("uninterrupted", "failed")]
    assert all(torch.allclose(models[0][name], models[1][name], rtol=1e-4, atol=1e-6) for name in models[0])


def test_run_that_stopped_early_takes_no_step_after_a_resume(train: Train, tmp_path: Path) -> None:
    no_progress: dict[str, Any] = {
        "lr": 1e-12,
        "head_lr": 1e-12,
        "evaluate_every": "1st",  # after every step
        "patience": 2,
        "hook": [],
    }
    first = train("first", **no_progress)
    assert first["steps"] == 3
    (tmp_path / "first" / "result.json").unlink()  # as if the run had been killed while it finished
    resumed = train("first", **no_progress, resume="auto")
    assert (resumed["steps"], resumed["stopped_because"]) == (3, first["stopped_because"])
    assert resumed["weights_sha256"] == first["weights_sha256"]


def test_stop_requested_in_end_of_step_survives_a_resume_from_the_checkpoint_of_that_step(
    train: Train, tmp_path: Path
) -> None:
    class StopsAtEndOfStep4(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 4:
                run.stop("enough")

    first = train("first", hooks=[StopsAtEndOfStep4()])  # the stop takes effect after the next step
    assert (first["steps"], first["stopped_because"]) == (5, "enough")
    checkpoint = str(tmp_path / "first" / "checkpoints" / "step-00000004")
    resumed = train("resumed", hooks=[StopsAtEndOfStep4()], resume=checkpoint)
    assert (resumed["steps"], resumed["weights_sha256"]) == (5, first["weights_sha256"])


def test_resume_from_an_earlier_checkpoint_deletes_later_checkpoints(
    train: Train, settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class FailsAtEndOfStep(Hook):
        def __init__(self, step: int | None = None) -> None:
            self.step = step

        def end_of_step(self, run: Run) -> None:
            if run.clock.step == self.step:
                raise ValueError("enough")

    checkpoints = tmp_path / "run" / "checkpoints"
    uninterrupted = train("run", hooks=[FailsAtEndOfStep()], save_every="2st")
    earlier = str(checkpoints / "step-00000004")
    with pytest.raises(ValueError, match="enough"):
        train("run", keep=2, resume=earlier, hooks=[FailsAtEndOfStep(7)], save_every="2st")
    assert [path.name for path in sorted(checkpoints.iterdir())] == ["step-00000004", "step-00000006"]
    capsys.readouterr()
    resumed = train("run", keep=2, resume="auto", hooks=[FailsAtEndOfStep()], save_every="2st")
    assert resumed["resumed_from"] == "step-00000006"
    assert resumed["weights_sha256"] == uninterrupted["weights_sha256"]
    assert [path.name for path in sorted(checkpoints.iterdir())] == ["step-00000010", "step-00000012"]
