"""The worst mistakes of a model equal values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from scipy.special import logit

from research.report.mistakes import MAX_SHOWN, LabelledPredictions, find_worst_mistakes
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel


def make_rows(num_rows: int) -> Dataset:
    """Return rows with the ids 0, 10, 20 and so on."""
    return Dataset.from_dict(
        {"id": [10 * row for row in range(num_rows)], "text": [f"text {row}" for row in range(num_rows)]}
    )


def test_single_label_mistakes_are_ordered_by_confidence() -> None:
    task = SingleLabel(("no", "yes"))
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    predictions = LabelledPredictions(
        ids=np.array([0, 10, 20, 30]),
        labels=np.array([0, 0, 0, 1]),
        predicted=probabilities.argmax(axis=1),
        logits=np.log(probabilities),
    )
    mistakes, total = find_worst_mistakes(task, predictions, make_rows(4))
    assert total == 2
    assert [(mistake.id, mistake.label, mistake.predicted, mistake.texts) for mistake in mistakes] == [
        (10, "no", "yes", ("text 1",)),
        (20, "no", "yes", ("text 2",)),
    ]
    assert [mistake.severity for mistake in mistakes] == pytest.approx([0.8, 0.6])


def test_multi_label_severity_is_the_confidence_of_the_most_confident_wrong_decision() -> None:
    task = MultiLabel(("a", "b", "c"))
    probabilities = np.array([[0.99, 0.7, 0.2], [0.6, 0.1, 0.05], [0.9, 0.1, 0.1]])
    labels = np.array([[1, 0, 0], [1, 0, 1], [1, 0, 0]])
    predictions = LabelledPredictions(
        np.array([0, 10, 20]), labels, (probabilities > 0.5).astype(int), logit(probabilities)
    )
    mistakes, total = find_worst_mistakes(task, predictions, make_rows(3))
    assert total == 2
    assert [(mistake.id, mistake.label, mistake.predicted) for mistake in mistakes] == [
        (10, "a, c", "a"),  # c is missing: its predicted probability is only 0.05
        (0, "a", "a, b"),
    ]
    assert [mistake.severity for mistake in mistakes] == pytest.approx([0.95, 0.7])


def test_regression_mistakes_are_the_largest_distances() -> None:
    task = Regression(("score",))
    predicted = np.array([1.0, 2.5, 4.0])
    predictions = LabelledPredictions(np.array([0, 10, 20]), np.array([1.0, 2.0, 1.0]), predicted, predicted[:, None])
    mistakes, total = find_worst_mistakes(task, predictions, make_rows(3))
    assert total == 2
    assert [(mistake.id, mistake.label, mistake.predicted, mistake.severity) for mistake in mistakes] == [
        (20, "1", "4", 3.0),
        (10, "2", "2.5", 0.5),
    ]


def test_at_most_max_shown_mistakes_are_returned_with_the_number_of_all_mistakes() -> None:
    task = SingleLabel(("no", "yes"))
    num_rows = MAX_SHOWN + 5
    probabilities = np.tile([0.1, 0.9], (num_rows, 1))
    predictions = LabelledPredictions(
        10 * np.arange(num_rows), np.zeros(num_rows, dtype=int), probabilities.argmax(axis=1), np.log(probabilities)
    )
    mistakes, total = find_worst_mistakes(task, predictions, make_rows(num_rows))
    assert (len(mistakes), total) == (MAX_SHOWN, num_rows)
