"""Stop when validation no longer improves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from research.hooks.base import Hook, register_hook
from research.hooks.evaluation import is_better, reset_if_changed
from research.measures import measure
from research.metrics import check_metric

if TYPE_CHECKING:
    from research.run import Run


@register_hook("early_stopping")
class EarlyStopping(Hook):
    """Stop after several evaluations in a row without a better validation metric.

    Source: Prechelt 1998, Early Stopping - But When?

    Args:
        metric: name of a validation metric, or loss.
        patience: evaluations without improvement before the run stops.
    """

    def __init__(self, *, metric: str = "loss", patience: int = 3) -> None:
        if patience < 1:
            raise ValueError(f"Expected patience of 1 or more, got {patience}.")
        self.metric = metric
        self.patience = patience
        self.best: float | None = None
        self.num_without_improvement = 0
        self.measured: str | None = None

    def on_train_start(self, run: Run) -> None:
        """Refuse a metric that the task does not have."""
        check_metric(self.metric, run.task)

    def on_resume(self, run: Run) -> None:
        """Refuse a metric that the task does not have, and reset in a fork that measures something else."""
        check_metric(self.metric, run.task)
        self.measured = reset_if_changed(run, self.metric, self.measured, self._reset, "early stopping")

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Count evaluations without improvement, and stop at the limit."""
        if split != "validation":
            return
        self.measured = measure(run, self.metric)
        if is_better(self.metric, metrics[self.metric], self.best):
            self.best, self.num_without_improvement = metrics[self.metric], 0
            return
        self.num_without_improvement += 1
        if self.num_without_improvement >= self.patience:
            best = "never defined" if self.best is None else f"best: {self.best:.4f}"
            run.stop(f"{self.metric} has not improved for {self.patience} evaluations ({best})")

    def after_edits(self, run: Run) -> None:
        """Reset when losses are no longer comparable."""
        if run.has_new_objective and self.metric == "loss":
            self._reset()

    def _reset(self) -> None:
        self.best, self.num_without_improvement, self.measured = None, 0, None

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, what it measures, and the count."""
        return {
            "best": self.best,
            "num_without_improvement": self.num_without_improvement,
            "measured": self.measured,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.best, self.num_without_improvement = state["best"], state["num_without_improvement"]
        self.measured = state.get("measured")
