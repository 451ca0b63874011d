"""Pairs of labels that a model confuses, listed in a table if there are too many labels for a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research.tasks.base import Array, Task

MAX_SHOWN = 30
"""Maximum number of pairs in the table."""


@dataclass(frozen=True)
class Confusion:
    """A label, and a wrong label that is predicted for some of its rows."""

    label: str
    """True label of the rows."""
    predicted: str
    """Wrong label that is predicted for the rows."""
    num_rows: int
    """Number of rows with this label and this prediction."""
    share: float
    """Share of the true label's rows that have this prediction."""


def find_confusions(task: Task, labels: Array, predicted: Array) -> list[Confusion]:
    """Return the most frequently confused pairs of labels, the most frequent first.

    Args:
        task: a single-label task.
        labels: label code of each row, [num_rows].
        predicted: predicted label code of each row, [num_rows].
    """
    wrong = labels != predicted
    # Each pair of labels is one number, which `divmod` splits again below.
    pairs, counts = np.unique(labels[wrong] * task.num_labels + predicted[wrong], return_counts=True)
    num_rows_of_label = np.bincount(labels, minlength=task.num_labels)
    confusions = []
    for index in np.argsort(-counts, kind="stable")[:MAX_SHOWN]:
        label, wrong_label = divmod(int(pairs[index]), task.num_labels)
        count = int(counts[index])
        names = (task.describe_label(label), task.describe_label(wrong_label))
        confusions.append(Confusion(*names, count, count / int(num_rows_of_label[label])))
    return confusions
