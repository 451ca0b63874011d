"""`compute_metrics` returns the metrics of the task."""

from __future__ import annotations

import numpy as np
import pytest

from research.learning.metrics import compute_metrics
from research.tasks.base import TASKS
from tests.shipped import shipped_names


@pytest.mark.parametrize("task_name", shipped_names(TASKS))
def test_compute_metrics_returns_the_metrics_of_the_task(task_name: str) -> None:
    task = TASKS[task_name](label_names=("a", "b"), label_counts=(1, 1), num_train=2)
    logits = np.array([[1.0, -1.0], [-2.0, 3.0], [0.5, 0.0]])
    labels = task.label_array([[0], [1], [1]] if task.several_per_row else [0, 1, 1])
    assert compute_metrics(task, logits, labels) == task.compute_metrics(logits, labels)
