"""Metrics through `evaluate`: its own are scripts on the Hub, which needs the network, so these are the tasks'."""

from __future__ import annotations

import tempfile
from typing import Any

import datasets
import evaluate

from research.tasks.base import Array, Floats, Task


def compute_metrics(task: Task, logits: Floats, labels: Array) -> dict[str, float]:
    """Return all metrics of a task; one that is not defined on these rows (AUROC of one class) is NaN.

    Args:
        task: the labels.
        logits: [num_rows, num_labels].
        labels: of the rows, as `Task.label_array` returns them.
    """
    metric = TaskMetric(task, config_name=task.problem_type, keep_in_memory=True, cache_dir=tempfile.gettempdir())
    return metric.compute(predictions=logits, references=labels)


class TaskMetric(evaluate.Metric):  # type: ignore[misc]
    """The metrics of a task: predictions are logits.

    Args:
        task: the labels.
        **kwargs: what evaluate.Metric takes.
    """

    def __init__(self, task: Task, **kwargs: Any) -> None:
        self.task = task
        super().__init__(**kwargs)

    def compute(self, *, predictions: Array, references: Array) -> dict[str, float]:
        """Score arrays as they are: in evaluate's tables every logit would become a Python object."""
        return self.task.compute_metrics(predictions, references)

    def _info(self) -> evaluate.MetricInfo:
        logits = datasets.Sequence(datasets.Value("float64"))
        nothing = self.task.missing_labels(0)
        value = datasets.Value(str(nothing.dtype))
        return evaluate.MetricInfo(
            description=", ".join(self.task.metric_names),
            citation="",
            features=datasets.Features(
                {"predictions": logits, "references": datasets.Sequence(value) if nothing.ndim == 2 else value}
            ),
        )
