"""Evaluation while training, and keeping the best model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from research import durable
from research.hooks.base import Hook
from research.measures import measure
from research.metrics import higher_is_better

if TYPE_CHECKING:
    from research.run import Run


BEST = "best"
"""Folder of the best model in the run directory."""


class Evaluation(Hook):
    """Evaluate on the validation split every so many steps, and after the last.

    Args:
        every: steps between evaluations; None evaluates after the last step only.
    """

    def __init__(self, *, every: int | None) -> None:
        self.every = every
        self.evaluated_at = -1

    def after_step(self, run: Run) -> None:
        """Evaluate if it is time, or the last step is done."""
        due = self.every is not None and run.clock.step % self.every == 0
        if due or run.clock.step == run.clock.total_steps:
            self._evaluate(run)

    def on_train_end(self, run: Run) -> None:
        """Evaluate the final model of a run that was stopped early."""
        if self.evaluated_at != run.clock.step:
            self._evaluate(run)

    def _evaluate(self, run: Run) -> None:
        metrics = run.evaluate("validation").metrics
        self.evaluated_at = run.clock.step
        run.log({f"validation/{name}": value for name, value in metrics.items()})
        run.schedule_on_metric(metrics["loss"])

    def state_dict(self) -> dict[str, Any]:
        """Return the step of the latest evaluation."""
        return {"evaluated_at": self.evaluated_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back the step of the latest evaluation."""
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
        self.measured: str | None = None

    def on_resume(self, run: Run) -> None:
        """Reset in a fork that measures something else."""
        self.measured = reset_if_changed(run, self.metric, self.measured, lambda: self._reset(run), "the best model")

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Save the model if it is better than all before."""
        if split != "validation" or not is_better(self.metric, metrics[self.metric], self.best):
            return
        self.best, self.measured = metrics[self.metric], measure(run, self.metric)
        if run.is_main:
            run.save_model(run.directory / BEST)

    def after_edits(self, run: Run) -> None:
        """Reset when losses are no longer comparable."""
        if run.has_new_objective and self.metric == "loss":
            self._reset(run)

    def _reset(self, run: Run) -> None:
        self.best = self.measured = None
        if run.is_main:
            durable.remove(run.directory / BEST)  # if no later value is defined, it must not be taken for the best

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, and what it measures."""
        return {"best": self.best, "measured": self.measured}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.best, self.measured = state["best"], state.get("measured")


def reset_if_changed(run: Run, metric: str, measured: str | None, reset: Callable[[], None], what: str) -> str | None:
    """Reset what a checkpoint remembers of a metric if this run measures something else, and report it.

    Args:
        run: the run that goes on.
        metric: the metric that it watches.
        measured: what the remembered values measure; None if there are none.
        reset: forgets them.
        what: what is reset, for the message.
    Returns:
        What the values that are still remembered measure.
    """
    now = measure(run, metric)
    if measured is None or measured == now:
        return measured
    reset()
    run.say(f"Reset {what}: the checkpoint's values are of {measured}, those of this run of {now}.")
    return None


def is_better(metric: str, value: float, best: float | None) -> bool:
    """Return whether a metric's value is better than the best so far; one that is not defined (NaN) never is."""
    if best is None:
        return not math.isnan(value)
    return value > best if higher_is_better(metric) else value < best
