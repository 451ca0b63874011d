"""Pairs of labels that a model confuses: what a confusion matrix shows, for more labels than a picture holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from research.tasks.base import Array, Task

NUM_SHOWN = 30


@dataclass(frozen=True)
class Confusion:
    """A label and another one that is predicted in its place."""

    label: str
    """The label of the rows."""
    predicted: str
    """The label predicted for them."""
    num_rows: int
    """Number of these rows."""
    share: float
    """Their share of the label's rows."""


def most_confused(task: Task, labels: Array, predicted: Array) -> list[Confusion]:
    """Return the pairs that are confused in most rows, the most frequent first.

    Args:
        task: the labels, of which each row has one.
        labels: [num_rows].
        predicted: [num_rows].
    """
    wrong = labels != predicted
    pairs, counts = np.unique(labels[wrong] * task.num_labels + predicted[wrong], return_counts=True)
    num_rows = np.bincount(labels, minlength=task.num_labels)
    found = []
    for place in np.argsort(-counts, kind="stable")[:NUM_SHOWN]:
        label, other = divmod(int(pairs[place]), task.num_labels)
        number = int(counts[place])
        names = (task.describe_label(label), task.describe_label(other))
        found.append(Confusion(*names, number, number / int(num_rows[label])))
    return found
