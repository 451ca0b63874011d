"""The rows that a model is most wrong about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.special import expit

from research.learning.metrics import Array, predictions
from research.learning.predictions import Predictions
from research.learning.softmax import BlockSoftmax
from research.tasks.task import Task

NUM_SHOWN = 20


@dataclass(frozen=True)
class Scored:
    """A split's rows with what a model says of them."""

    ids: Array
    """Number of each row over the files of its split, from 0, [num_rows]."""
    labels: Array
    """[num_rows] or, for multi_label, [num_rows, num_labels]."""
    predicted: Array
    """Of the same shape."""
    logits: Array
    """[num_rows, num_labels]."""

    @classmethod
    def of(cls, task: Task, found: Predictions) -> Scored:
        """Return the same rows, which have labels."""
        assert found.labels is not None
        return cls(found.ids, found.labels, predictions(task, found.logits), found.logits)


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
    is_wrong = scored.predicted != scored.labels
    if task.problem_type == "single_label":
        return np.where(is_wrong, BlockSoftmax(scored.logits).confidence, 0.0)
    surest = np.where(is_wrong, np.abs(scored.logits), -np.inf).max(axis=1)
    return np.asarray(expit(surest.astype(np.float64)))  # the probability of what is predicted; 0 of nothing wrong


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
