"""Stop when validation no longer improves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from research.hooks.evaluation import why_not_comparable
from research.tasks.metric_names import check_metric, check_metric_name, is_better
from research.training.hook import Hook, register_hook

if TYPE_CHECKING:
    from research.training.api import Run


@register_hook("early_stopping")
class EarlyStopping(Hook):
    """Stop after several evaluations in a row without a better validation metric.

    Source: Prechelt 1998, Early Stopping - But When?

    Args:
        metric: name of a validation metric, or loss.
        patience: evaluations without improvement before the run stops.
    """

    def __init__(self, *, metric: str = "loss", patience: int = 3) -> None:
        check_metric_name(metric)
        if patience < 1:
            raise ValueError(f"Expected patience of 1 or more, got {patience}.")
        self.metric = metric
        self.patience = patience
        self.best: float | None = None
        self.num_without_improvement = 0
        self.measured = metric

    def on_train_start(self, run: Run) -> None:
        """Refuse a metric that the task does not have."""
        check_metric(self.metric, run.task)

    def on_resume(self, run: Run) -> None:
        """Reset the count if a fork measures improvement by something else than its parent."""
        check_metric(self.metric, run.task)
        reason = why_not_comparable(run, self.metric, self.measured)
        if reason is not None:
            if self.best is not None:
                run.print(f"Early stopping begins to count again: the best value so far does not compare, {reason}.")
            self.best, self.num_without_improvement = None, 0
        self.measured = self.metric

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Count evaluations without improvement, and stop at the limit."""
        if split != "validation":
            return
        if is_better(self.metric, metrics[self.metric], self.best):
            self.best, self.num_without_improvement = metrics[self.metric], 0
            return
        self.num_without_improvement += 1
        if self.num_without_improvement >= self.patience:
            best = "never defined" if self.best is None else f"best: {self.best:.4f}"
            run.stop(f"{self.metric} has not improved for {self.patience} evaluations ({best})")

    def after_edits(self, run: Run) -> None:
        """Reset the count when losses are no longer comparable."""
        if run.has_new_objective and self.metric == "loss":
            self.best, self.num_without_improvement = None, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the count."""
        return {
            "best": self.best,
            "metric": self.metric,
            "num_without_improvement": self.num_without_improvement,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back the best value and the count."""
        self.best, self.measured = state["best"], state["metric"]
        self.num_without_improvement = state["num_without_improvement"]
