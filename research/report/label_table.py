"""Precision, recall and F1 of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research.records.many_labels import MANY_LABELS
from research.report.mistakes import Scored
from research.tasks.base import Task

MOST_SHOWN = 500
"""Labels in a table; a browser becomes slow with many thousands."""


@dataclass(frozen=True)
class LabelScores:
    """How well one label is predicted."""

    name: str
    """The label."""
    precision: float
    """Share of the rows predicted as this label that have it."""
    recall: float
    """Share of the label's rows that are predicted as it."""
    f1: float
    """Harmonic mean of both."""
    num_rows: int
    """Rows that have the label."""


@dataclass(frozen=True)
class LabelTable:
    """The labels of a split."""

    labels: Sequence[LabelScores]
    """In their own order; from MANY_LABELS on the worst first, and only as many as are shown."""
    num_labels: int
    """All labels."""

    @property
    def is_long(self) -> bool:
        """Whether the table is folded, with the worst labels first."""
        return self.num_labels >= MANY_LABELS


def label_table(task: Task, scored: Scored) -> LabelTable:
    """Return the scores of each label; an empty table if labels have no names.

    Labels without rows in the split come last in long tables: nothing is known about them.
    """
    counts = task.count_labels(scored.labels, scored.predicted)
    if counts is None:
        return LabelTable([], 0)
    order = np.arange(task.num_labels)
    if task.num_labels >= MANY_LABELS:
        order = np.lexsort((-counts.present, counts.f1, counts.present == 0))[:MOST_SHOWN]
    columns = (counts.precision, counts.recall, counts.f1, counts.present)
    rows = zip((task.label_names[index] for index in order), *(each[order].tolist() for each in columns), strict=True)
    return LabelTable([LabelScores(*row) for row in rows], task.num_labels)
