"""Stop a run when a validation metric no longer improves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from research.hooks.evaluation import why_not_comparable
from research.tasks.metric_names import check_metric, check_metric_name, is_better
from research.training.hook import Hook, register_hook

if TYPE_CHECKING:
    from research.training.api import Run


@register_hook("early_stopping")
class EarlyStopping(Hook):
    """Stop the run after several consecutive evaluations in which a validation metric has not improved.

    Source: Prechelt 1998, Early Stopping - But When?

    Args:
        metric: name of a validation metric, or `loss`.
        patience: number of consecutive evaluations without improvement after which the run stops.
    """

    def __init__(self, *, metric: str = "loss", patience: int = 3) -> None:
        check_metric_name(metric)
        if patience < 1:
            raise ValueError(f"Expected a patience of 1 or more, got {patience}.")
        self.metric = metric
        self.patience = patience
        self.best: float | None = None
        self.num_without_improvement = 0
        self.metric_of_best = metric
        """Name of the metric of `best`. In a fork, this is the parent's metric until `on_resume`."""

    def on_train_start(self, run: Run) -> None:
        """Check that the task has the metric."""
        check_metric(self.metric, run.task)

    def on_resume(self, run: Run) -> None:
        """Check that the task has the metric, and reset the state if it is not comparable with the checkpoint's."""
        check_metric(self.metric, run.task)
        reason = why_not_comparable(run, self.metric, self.metric_of_best)
        if reason is not None:
            if self.best is not None:
                run.print(f"Early stopping is reset, because the best value so far is not comparable: {reason}.")
            self.best, self.num_without_improvement = None, 0
        self.metric_of_best = self.metric

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Count evaluations without improvement, and stop the run at the limit."""
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
        """Reset the best value and the count if they depend on losses that are no longer comparable."""
        if run.has_new_objective and self.metric == "loss":
            self.best, self.num_without_improvement = None, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, the name of its metric, and the count."""
        return {
            "best": self.best,
            "metric": self.metric,
            "num_without_improvement": self.num_without_improvement,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best value, the name of its metric, and the count."""
        self.best, self.metric_of_best = state["best"], state["metric"]
        self.num_without_improvement = state["num_without_improvement"]
