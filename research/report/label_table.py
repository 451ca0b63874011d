"""Precision, recall and F1 of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research.records.many_labels import MANY_LABELS
from research.report.mistakes import LabelledPredictions
from research.tasks.base import Task

MAX_SHOWN = 500
"""Maximum number of labels in a table: browsers become slow with many thousands of rows."""


@dataclass(frozen=True)
class LabelMetrics:
    """Precision, recall and F1 of one label."""

    name: str
    """Name of the label."""
    precision: float
    """Of the rows predicted to have this label, the share that do have it."""
    recall: float
    """Of the rows that have this label, the share predicted to have it."""
    f1: float
    """Harmonic mean of precision and recall."""
    num_rows: int
    """Number of rows that have the label."""


@dataclass(frozen=True)
class LabelTable:
    """Precision, recall and F1 of the labels on one split."""

    labels: Sequence[LabelMetrics]
    """The labels to show, in the order of the task; if there are MANY_LABELS or more, those with the lowest F1, lowest
    first."""
    num_labels: int
    """Number of all labels."""

    @property
    def is_long(self) -> bool:
        """Whether the table is collapsed and shows the labels with the lowest F1 first."""
        return self.num_labels >= MANY_LABELS


def build_label_table(task: Task, predictions: LabelledPredictions) -> LabelTable:
    """Return precision, recall and F1 of each label; the table is empty if the labels have no names.

    In long tables, labels without rows in the split come last, because precision, recall and F1 say nothing about them.
    """
    counts = task.count_labels(predictions.labels, predictions.predicted)
    if counts is None:
        return LabelTable([], 0)
    order = np.arange(task.num_labels)
    if task.num_labels >= MANY_LABELS:
        # The last key takes precedence.
        order = np.lexsort((-counts.present, counts.f1, counts.present == 0))[:MAX_SHOWN]
    columns = (counts.precision, counts.recall, counts.f1, counts.present)
    rows = zip((task.label_names[index] for index in order), *(each[order].tolist() for each in columns), strict=True)
    return LabelTable([LabelMetrics(*row) for row in rows], task.num_labels)
