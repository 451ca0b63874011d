"""The worst mistakes of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from research.learning.predictions import Predictions
from research.tasks.base import Array, Task

MAX_SHOWN = 20
"""Maximum number of mistakes in the table."""


@dataclass(frozen=True)
class LabelledPredictions:
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
    def of(cls, task: Task, predictions: Predictions) -> LabelledPredictions:
        """Return the labelled predictions for a split, which must have labels."""
        assert predictions.labels is not None
        return cls(predictions.ids, predictions.labels, task.predicted_labels(predictions.logits), predictions.logits)


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


def find_worst_mistakes(task: Task, predictions: LabelledPredictions, rows: Dataset) -> tuple[list[Mistake], int]:
    """Return the most severe mistakes, and the number of all mistakes.

    Args:
        task: the task.
        predictions: labels and predictions for all rows of a split.
        rows: the same rows with their texts, in the same order.
    """
    assert np.array_equal(predictions.ids, rows.data.column("id").to_numpy()), "predictions and texts of different rows"
    severity = task.mistake_severity(predictions.labels, predictions.predicted, predictions.logits)
    order = np.argsort(-severity, kind="stable")
    order = order[severity[order] > 0]
    columns = [name for name in ("text", "text_pair") if name in rows.column_names]
    return [
        Mistake(
            int(predictions.ids[row]),
            task.describe_label(predictions.labels[row]),
            task.describe_label(predictions.predicted[row]),
            float(severity[row]),
            tuple(rows[int(row)][name] for name in columns),
        )
        for row in order[:MAX_SHOWN]
    ], len(order)
