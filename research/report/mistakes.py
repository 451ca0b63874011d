"""The rows that a model is most wrong about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from research.evaluation import Predictions
from research.metrics import Array, predictions, probabilities
from research.softmax import BlockSoftmax
from research.task import Task

NUM_SHOWN = 20


@dataclass(frozen=True)
class Scored:
    """A split's rows with what a model says of them."""

    ids: Array
    """Number of each row in its file, [num_rows]."""
    labels: Array
    """[num_rows] or, for multi_label, [num_rows, num_labels]."""
    predicted: Array
    """Of the same shape."""
    scores: Array
    """[num_rows, num_labels]; for single_label that of the predicted label is enough, [num_rows, 1]."""

    @classmethod
    def of(cls, task: Task, found: Predictions) -> Scored:
        """Return the same rows, which have labels, with no more scores than are needed."""
        assert found.labels is not None
        is_single = task.problem_type == "single_label"
        scores: Array = (
            BlockSoftmax(found.logits).confidence[:, None] if is_single else probabilities(task, found.logits)
        )
        return cls(found.ids, found.labels, predictions(task, found.logits), scores)


@dataclass(frozen=True)
class Mistake:
    """A row that was predicted wrongly."""

    id: int
    """Number of the row in its file."""
    label: str
    """What it is."""
    predicted: str
    """What the model says."""
    score: float
    """How sure the model is of what is wrong: a probability, or the distance (regression)."""
    texts: tuple[str, ...]
    """The text, or both of a pair."""


def wrongness(task: Task, scored: Scored) -> Array:
    """Return how sure the model is of what is wrong in each row, 0 where nothing is, [num_rows].

    A probability: of the predicted label (single_label), or of the label that is surest and wrong (multi_label). For
    regression, the distance between score and prediction.
    """
    if task.problem_type == "regression":
        return np.abs(scored.predicted - scored.labels)
    if task.problem_type == "single_label":
        return np.where(scored.predicted != scored.labels, scored.scores.max(axis=1), 0.0)
    sureness = np.where(scored.predicted == 1, scored.scores, 1 - scored.scores)
    return np.where(scored.predicted != scored.labels, sureness, 0.0).max(axis=1)


def worst_mistakes(task: Task, scored: Scored, rows: Dataset) -> tuple[list[Mistake], int]:
    """Return the mistakes that the model is surest of, and how many there are in all.

    Args:
        task: the labels.
        scored: predictions for all rows of a split.
        rows: the split with its texts, in the same order.
    """
    assert np.array_equal(scored.ids, rows.data.column("id").to_numpy()), "predictions of other rows"
    wrong = wrongness(task, scored)
    order = np.argsort(-wrong, kind="stable")
    order = order[wrong[order] > 0]
    columns = [name for name in ("text", "text_pair") if name in rows.column_names]
    return [
        Mistake(
            int(scored.ids[row]),
            in_words(task, scored.labels[row]),
            in_words(task, scored.predicted[row]),
            float(wrong[row]),
            tuple(rows[int(row)][name] for name in columns),
        )
        for row in order[:NUM_SHOWN]
    ], len(order)


def in_words(task: Task, label: Any) -> str:
    """Return a label as its name, its names or its number."""
    if task.problem_type == "single_label":
        return task.names_of([int(label)])[0]
    if task.problem_type == "regression":
        return f"{float(label):.4g}"
    return ", ".join(task.label_names[index] for index in np.flatnonzero(label)) or "none"
