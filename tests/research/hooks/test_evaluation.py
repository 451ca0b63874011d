"""A run evaluates at the configured interval, and keeps the best model."""

from __future__ import annotations

import pytest

from research import Hook
from research.hooks.evaluation import BestModel, Evaluation, why_not_comparable
from research.training.api import Run
from research.training.loop import train
from tests.research.conftest import StartRun


class RecordEvaluations(Hook):
    """Records the steps after which validation rows were evaluated, and stops the run after a given step.

    No other split may be evaluated.
    """

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.steps: list[int] = []

    def after_step(self, run: Run) -> None:
        if run.clock.step == self.stop_at:
            run.stop("enough")

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        assert split == "validation"
        self.steps.append(run.clock.step)


@pytest.mark.parametrize(
    ("every", "stop_at", "expected"),  # "3st": every 3 steps
    [("3st", None, [3, 4]), (None, None, [4]), ("2st", 3, [2, 3]), ("1st", 2, [1, 2])],
)
def test_evaluation_runs_at_intervals_and_once_at_the_end(
    start_run: StartRun, every: str | None, stop_at: int | None, expected: list[int]
) -> None:
    recorder = RecordEvaluations(stop_at)
    run = start_run([recorder], evaluate_every=every, max_steps=4)
    train(run)
    assert recorder.steps == expected
    (hook,) = (hook for hook in run.hooks if isinstance(hook, Evaluation))
    resumed = Evaluation(every=None)
    resumed.load_state_dict(hook.state_dict())
    assert resumed.evaluated_at == expected[-1]


def test_best_model_is_saved_only_if_the_validation_metric_improves(start_run: StartRun) -> None:
    run, hook = start_run(), BestModel(metric="accuracy")
    best_file = run.directory / "best" / "model.safetensors"
    hook.after_evaluate(run, "test", {"accuracy": 1.0})
    assert not best_file.exists()
    for value, is_better in ((0.5, True), (0.4, False), (0.5, False), (float("nan"), False), (0.6, True)):
        best_file.unlink(missing_ok=True)
        hook.after_evaluate(run, "validation", {"accuracy": value})
        assert best_file.exists() == is_better, value
    assert hook.best == 0.6
    resumed = BestModel(metric="accuracy")
    resumed.load_state_dict(hook.state_dict())
    assert resumed.state_dict() == {"best": 0.6, "metric": "accuracy"}
    resumed.on_resume(run)
    assert (resumed.best, best_file.exists()) == (0.6, True)
    fork = BestModel(metric="loss")  # with a different metric, a fork has no best model at first
    fork.load_state_dict(hook.state_dict())
    fork.on_resume(run)
    assert (fork.best, best_file.exists()) == (None, False)


def test_why_not_comparable_returns_a_reason_for_different_metrics(start_run: StartRun) -> None:
    run = start_run()
    assert why_not_comparable(run, "loss", "loss") is None
    reason = why_not_comparable(run, "loss", "accuracy")
    assert reason is not None
    assert "accuracy" in reason
    assert "loss" in reason
