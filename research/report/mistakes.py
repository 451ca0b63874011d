"""The worst mistakes of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from research.learning.predictions import Predictions
from research.tasks.base import Array, Task

NUM_SHOWN = 20
"""Maximum number of mistakes in the table."""


@dataclass(frozen=True)
class Scored:
    """Labels and predictions for the rows of a split."""

    ids: Array
    """Number of each row, counted from 0 over all files of the split, [num_rows]."""
    labels: Array
    """True labels as returned by `Task.label_array`, [num_rows] or [num_rows, num_labels]."""
    predicted: Array
    """Predicted labels, in the shape of `labels`."""
    logits: Array
    """Logits, [num_rows, num_labels]."""

    @classmethod
    def of(cls, task: Task, found: Predictions) -> Scored:
        """Build from the predictions for a split, which must have labels."""
        assert found.labels is not None
        return cls(found.ids, found.labels, task.predicted_labels(found.logits), found.logits)


@dataclass(frozen=True)
class Mistake:
    """A wrongly predicted row."""

    id: int
    """Number of the row, counted from 0 over all files of the split."""
    label: str
    """True label."""
    predicted: str
    """Predicted label."""
    severity: float
    """Severity of the mistake, see `Task.mistake_severity`."""
    texts: tuple[str, ...]
    """The text, or both texts of a pair."""


def worst_mistakes(task: Task, scored: Scored, rows: Dataset) -> tuple[list[Mistake], int]:
    """Return the most severe mistakes, and the number of all mistakes.

    Args:
        task: the task.
        scored: labels and predictions for all rows of a split.
        rows: the same rows with their texts, in the same order.
    """
    assert np.array_equal(scored.ids, rows.data.column("id").to_numpy()), "predictions and texts of different rows"
    severity = task.mistake_severity(scored.labels, scored.predicted, scored.logits)
    order = np.argsort(-severity, kind="stable")
    order = order[severity[order] > 0]
    columns = [name for name in ("text", "text_pair") if name in rows.column_names]
    return [
        Mistake(
            int(scored.ids[row]),
            task.describe_label(scored.labels[row]),
            task.describe_label(scored.predicted[row]),
            float(severity[row]),
            tuple(rows[int(row)][name] for name in columns),
        )
        for row in order[:NUM_SHOWN]
    ], len(order)
