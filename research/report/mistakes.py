"""The rows that a model is most wrong about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from research.learning.predictions import Predictions
from research.tasks.base import Array, Task

NUM_SHOWN = 20


@dataclass(frozen=True)
class Scored:
    """A split's rows with what a model says of them."""

    ids: Array
    """Number of each row over the files of its split, from 0, [num_rows]."""
    labels: Array
    """[num_rows] or [num_rows, num_labels], as `Task.label_array` returns them."""
    predicted: Array
    """Of the same shape."""
    logits: Array
    """[num_rows, num_labels]."""

    @classmethod
    def of(cls, task: Task, found: Predictions) -> Scored:
        """Return the same rows, which have labels."""
        assert found.labels is not None
        return cls(found.ids, found.labels, task.predicted_labels(found.logits), found.logits)


@dataclass(frozen=True)
class Mistake:
    """A row that was predicted wrongly."""

    id: int
    """Number of the row over the files of its split, from 0."""
    label: str
    """What it is."""
    predicted: str
    """What the model says."""
    score: float
    """What `Task.mistake_severity` returned."""
    texts: tuple[str, ...]
    """The text, or both of a pair."""


def worst_mistakes(task: Task, scored: Scored, rows: Dataset) -> tuple[list[Mistake], int]:
    """Return the mistakes that the model is surest of, and how many there are in all.

    Args:
        task: the labels.
        scored: predictions for all rows of a split.
        rows: the split with its texts, in the same order.
    """
    assert np.array_equal(scored.ids, rows.data.column("id").to_numpy()), "predictions of other rows"
    wrong = task.mistake_severity(scored.labels, scored.predicted, scored.logits)
    order = np.argsort(-wrong, kind="stable")
    order = order[wrong[order] > 0]
    columns = [name for name in ("text", "text_pair") if name in rows.column_names]
    return [
        Mistake(
            int(scored.ids[row]),
            task.describe_label(scored.labels[row]),
            task.describe_label(scored.predicted[row]),
            float(wrong[row]),
            tuple(rows[int(row)][name] for name in columns),
        )
        for row in order[:NUM_SHOWN]
    ], len(order)
