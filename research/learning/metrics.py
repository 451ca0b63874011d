"""Metrics of a task as an `evaluate.Metric`. The task computes them: `evaluate` would download its own metrics."""

from __future__ import annotations

import tempfile
from typing import Any

import datasets

from research.system.scripts import skipping_scripts
from research.tasks.base import Array, Floats, Task

with skipping_scripts("evaluate"):
    import evaluate


def compute_metrics(task: Task, logits: Floats, labels: Array) -> dict[str, float]:
    """Return all metrics of a task; NaN for those that are undefined, such as AUROC if all rows have the same label.

    Args:
        task: the task, which computes the metrics.
        logits: [num_rows, num_labels].
        labels: labels of the rows, as returned by `Task.label_array`.
    """
    metric = TaskMetric(task, config_name=task.name, keep_in_memory=True, cache_dir=tempfile.gettempdir())
    return metric.compute(predictions=logits, references=labels)


class TaskMetric(evaluate.Metric):  # type: ignore[misc]
    """Metrics of a task, computed from logits.

    Args:
        task: the task, which computes the metrics.
        **kwargs: arguments of evaluate.Metric.
    """

    def __init__(self, task: Task, **kwargs: Any) -> None:
        self.task = task
        super().__init__(**kwargs)

    def compute(self, *, predictions: Array, references: Array) -> dict[str, float]:
        """Compute metrics directly from arrays: `evaluate` would first convert every logit to a Python object."""
        return self.task.compute_metrics(predictions, references)

    def _info(self) -> evaluate.MetricInfo:
        logits = datasets.Sequence(datasets.Value("float64"))
        empty_labels = self.task.missing_labels(0)  # shows the dtype and the number of dimensions
        value = datasets.Value(str(empty_labels.dtype))
        return evaluate.MetricInfo(
            description=", ".join(self.task.metric_names),
            citation="",
            features=datasets.Features(
                {"predictions": logits, "references": datasets.Sequence(value) if empty_labels.ndim == 2 else value}
            ),
        )
