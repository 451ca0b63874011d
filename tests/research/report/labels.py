"""A builder of a task with a given number of labels."""

from __future__ import annotations

from research.tasks.base import Task
from research.tasks.single_label import SingleLabel


def task_with_labels(num_labels: int) -> Task:
    names = tuple(f"label {index}" for index in range(num_labels))
    return SingleLabel(names, label_counts=(1,) * num_labels, num_train=num_labels)
