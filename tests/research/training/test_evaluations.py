"""Splits are evaluated again only if the predictions may have changed."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from research import Hook
from research.system.signals import Interrupted
from research.training.api import Run
from tests.research.conftest import StartRun


class RecordEvaluations(Hook):
    """Records the splits that are evaluated."""

    def __init__(self) -> None:
        self.splits: list[str] = []

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        self.splits.append(split)


def test_current_predictions_evaluates_again_only_if_weights_changed(start_run: StartRun) -> None:
    recorder = RecordEvaluations()
    run = start_run([recorder])
    run.hooks.begin(run)  # as the loop does before the first step
    first = run.evaluations.current_predictions(run, "test")
    assert run.evaluations.current_predictions(run, "test") is first
    with torch.no_grad():
        run.encoder_with_head.get_parameter("head.out.bias")[0] += 1
    second = run.evaluations.current_predictions(run, "test")
    assert second.logits[:, 0] == pytest.approx(first.logits[:, 0] + 1, abs=1e-5)
    assert recorder.splits == ["test", "test"]


def test_current_predictions_evaluates_again_after_forget_predictions(start_run: StartRun) -> None:
    recorder = RecordEvaluations()
    run = start_run([recorder])
    run.hooks.begin(run)  # as the loop does before the first step
    first = run.evaluations.current_predictions(run, "test")
    run.evaluations.forget_predictions()
    assert run.evaluations.current_predictions(run, "test").logits.tolist() == first.logits.tolist()
    assert recorder.splits == ["test", "test"]


def test_current_predictions_returns_the_latest_evaluation_of_each_split(start_run: StartRun) -> None:
    run = start_run()
    run.hooks.begin(run)  # as the loop does before the first step
    evaluated = {split: run.evaluate(split) for split in ("test", "validation")}
    assert all(
        run.evaluations.current_predictions(run, split) is predictions for split, predictions in evaluated.items()
    )


def test_evaluate_ends_the_run_on_a_signal_only_after_the_last_step(start_run: StartRun) -> None:
    run = start_run()
    run.hooks.begin(run)  # as the loop does before the first step
    with run.interruption.watch:
        os.kill(os.getpid(), signal.SIGTERM)
        run.evaluate("test")  # the run does not end yet, since the training loop checks for signals later
        run.requests.takes_edits = False  # as the loop does after the last step
        with pytest.raises(Interrupted, match="SIGTERM"):
            run.evaluate("test")
