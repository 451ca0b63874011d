"""Tasks with label names: each label versus the rest, counts, and memory use of metrics."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from research.tasks.labelled import LabelledTask
from research.tasks.multi_label import MultiLabel
from research.tasks.single_label import SingleLabel


def test_one_versus_rest_returns_the_most_frequent_labels_first() -> None:
    task = SingleLabel(("a", "b", "c", "d"))
    labels = np.array([2, 1, 1, 3, 2, 1])
    # The probabilities of the rows are [1, 2, 3, 4] / 10, [5, 6, 7, 8] / 26, and so on.
    logits = np.log(np.arange(1.0, 25.0).reshape(6, 4))
    one_versus_rest, num_labels = task.one_versus_rest(labels, logits, max_labels=2)
    assert ([label.name for label in one_versus_rest], num_labels) == (["b", "c"], 3)
    assert one_versus_rest[0].has_label.tolist() == [False, True, True, False, False, True]
    np.testing.assert_allclose(one_versus_rest[0].probabilities, [2 / 10, 6 / 26, 10 / 42, 14 / 58, 18 / 74, 22 / 90])


def test_one_versus_rest_keeps_the_order_of_equally_frequent_labels() -> None:
    task = MultiLabel(("a", "b", "c"))
    labels = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    one_versus_rest, num_labels = task.one_versus_rest(labels, np.zeros((2, 3)), max_labels=8)
    assert ([label.name for label in one_versus_rest], num_labels) == (["b", "c"], 2)
    assert one_versus_rest[1].probabilities.tolist() == [0.5, 0.5]


def test_count_labels_ignores_label_codes_without_an_output() -> None:
    counts = SingleLabel(("a", "b"), unseen_labels=("c",)).count_labels(np.array([0, 1, 2]), np.array([0, 0, 1]))
    assert (counts.correct.tolist(), counts.predicted.tolist(), counts.present.tolist()) == ([1, 0], [2, 1], [1, 1])


def test_describe_correctness_counts_the_models_that_are_right() -> None:
    assert SingleLabel.describe_correctness(2 / 3, 3) == MultiLabel.describe_correctness(2 / 3, 3) == "2 of 3 right"


def test_one_versus_rest_uses_only_the_second_of_two_labels() -> None:
    task, labels, logits = SingleLabel(("no", "yes")), np.array([0, 1, 0]), np.zeros((3, 2))
    one_versus_rest, num_labels = task.one_versus_rest(labels, logits, max_labels=8)
    assert ([label.name for label in one_versus_rest], num_labels) == (["yes"], 1)


@pytest.mark.parametrize("task_type", [SingleLabel, MultiLabel])
def test_metrics_of_many_labels_use_less_memory_than_their_probabilities(task_type: type[LabelledTask]) -> None:
    num_rows, num_labels = 1500, 10_000
    logits = np.zeros((num_rows, num_labels), dtype=np.float32)
    names = tuple(map(str, range(num_labels)))
    task = task_type(names, label_counts=(1,) * num_labels, num_train=num_labels)
    row_numbers = np.arange(num_rows)
    labels = row_numbers if task_type is SingleLabel else row_numbers[:, None] == range(num_labels)
    tracemalloc.start()
    metrics = task.compute_metrics(logits, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert metrics["auroc"] == 0.5
    assert peak < 8 * num_rows * num_labels  # bytes of the probabilities in float64
