"""Evaluate during training, and keep the best model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from research.settings.run_files import BEST
from research.system import durable
from research.system.judging import Judge
from research.tasks.metric_names import is_better
from research.training.hook import Hook

if TYPE_CHECKING:
    from research.training.api import Run


class Evaluation(Hook):
    """Evaluate the validation split every `every` steps and after the last step.

    Args:
        every: steps between evaluations; None evaluates after the last step only.
        judge: decides after each evaluation before the last step whether the run goes on; None if it always does. It
            is asked on the main process only.
    """

    def __init__(self, *, every: int | None, judge: Judge | None = None) -> None:
        self.every = every
        self.judge = judge
        self.evaluated_at = -1
        """Step of the latest evaluation; -1 before the first."""

    def after_step(self, run: Run) -> None:
        """Evaluate if an evaluation is due or the last step is done."""
        due = self.every is not None and run.clock.step % self.every == 0
        if due or run.clock.step == run.clock.total_steps:
            metrics = self._evaluate(run)
            if self.judge is not None and run.is_main and run.clock.step < run.clock.total_steps:
                reason = self.judge(100 * run.clock.step // run.clock.total_steps, metrics)
                if reason is not None:
                    run.interrupt(reason)

    def on_train_end(self, run: Run) -> None:
        """Evaluate the final model of a run that was stopped early."""
        if self.evaluated_at != run.clock.step:
            self._evaluate(run)

    def _evaluate(self, run: Run) -> dict[str, float]:
        metrics = run.evaluate("validation").metrics
        self.evaluated_at = run.clock.step
        run.log({f"validation/{name}": value for name, value in metrics.items()})
        if math.isfinite(metrics["loss"]):
            run.step_schedule_on_metric(metrics["loss"])
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the step of the latest evaluation."""
        return {"evaluated_at": self.evaluated_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the step of the latest evaluation."""
        self.evaluated_at = state["evaluated_at"]


class BestModel(Hook):
    """Keep the model with the best validation metric in best/.

    Args:
        metric: name of a validation metric.
    """

    kept_files = (BEST,)

    def __init__(self, *, metric: str) -> None:
        self.metric = metric
        self.best: float | None = None
        self.metric_of_best = metric
        """Name of the metric of `best`. In a fork, this is the parent's metric until `on_resume`."""

    def on_resume(self, run: Run) -> None:
        """Drop the best model of a fork's parent if its metric is not comparable with the fork's."""
        reason = why_not_comparable(run, self.metric, self.metric_of_best)
        if self.best is not None and reason is not None:
            run.print(f"The best model so far is dropped: {reason}.")
            self.best = None
        if self.best is None:
            self._remove_saved_model(run)
        self.metric_of_best = self.metric

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Save the model if its metric is the best so far."""
        if split != "validation" or not is_better(self.metric, metrics[self.metric], self.best):
            return
        self.best = metrics[self.metric]
        run.save_model(run.directory / BEST)

    def after_edits(self, run: Run) -> None:
        """Drop the best model if it was chosen by the loss and losses are no longer comparable."""
        if run.has_new_objective and self.metric == "loss":
            self.best = None
            self._remove_saved_model(run)

    def _remove_saved_model(self, run: Run) -> None:
        """Delete best/, so that a model chosen by a different measure is not tested at the end."""
        if run.is_main:
            durable.remove(run.directory / BEST)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far and the name of its metric."""
        return {"best": self.best, "metric": self.metric}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best value so far and the name of its metric."""
        self.best, self.metric_of_best = state["best"], state["metric"]


def why_not_comparable(run: Run, metric: str, metric_of_best: str) -> str | None:
    """Return why the best value in a checkpoint is not comparable with later values, or None if it is.

    Args:
        run: a resumed run or a fork.
        metric: name of the validation metric used from now on.
        metric_of_best: name of the metric that the best value in the checkpoint belongs to.
    """
    if metric != metric_of_best:
        return f"it was chosen by {metric_of_best}, but {metric} is used from now on"
    if run.inputs_differ:
        return "it was measured on inputs that were truncated, or cut into windows, differently"
    if metric == "loss" and run.objective_differs:
        return "its loss was measured with a different objective"
    return None
