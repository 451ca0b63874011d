"""Metrics are written to metrics.jsonl, and printed if there is no progress bar."""

from __future__ import annotations

import json
from typing import Any

import pytest

from research import Hook
from research.training.api import Run
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun


class LogAfterStep2AndAtTheEnd(Hook):
    """Logs values after the second step and after the last."""

    def after_step(self, run: Run) -> None:
        if run.clock.step == 2:
            run.log({"answer": 42.0})

    def on_train_end(self, run: Run) -> None:
        run.log({"late": 1.0})


def lines_of(run: TrainingRun) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_written_after_the_first_every_fourth_and_the_last_step_and_when_a_hook_logs(
    start_run: StartRun,
) -> None:
    run = start_run([LogAfterStep2AndAtTheEnd()], log_every=4, max_steps=6)  # one epoch has 6 steps
    train(run)
    lines = lines_of(run)
    assert [line["step"] for line in lines] == [1, 2, 4, 6, 6]  # the second 6 is from on_train_end
    assert [line.get("answer") for line in lines] == [None, 42.0, None, None, None]
    assert lines[-1] == {"step": 6, "epoch": 1.0, "late": 1.0}
    assert lines[2]["trainable_parameters"] == sum(p.numel() for p in run.encoder_with_head.parameters())
    assert lines[2]["epoch"] == pytest.approx(4 / 6)
    assert lines[2]["examples_per_second"] > 0
    rates = {name for name in lines[2] if name.startswith("learning_rate/")}
    assert rates == {f"learning_rate/{block}" for block in ("embeddings", "layer.0", "layer.1", "head")}
    assert [line["validation/loss"] for line in lines if "validation/loss" in line] == [
        run.evaluations.current_predictions(run, "validation").metrics["loss"]
    ]


def test_progress_prints_steps_and_evaluations_without_a_terminal(
    start_run: StartRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run(max_steps=2)
    capsys.readouterr()
    train(run)
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed if line.startswith("step ")] == ["step 1/2", "step 2/2"]
    loss = run.evaluations.current_predictions(run, "validation").metrics["loss"]
    assert [line for line in printed if f"step 2/2 validation: loss {loss:.4f}" in line]
