"""Metrics, against values worked out by hand."""

from __future__ import annotations

import math
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from research.learning.label_counts import LabelCounts
from research.learning.metric_names import higher_is_better, metric_names
from research.learning.metrics import compute_metrics, predictions, probabilities
from research.tasks.task import Task
from tests.limits import HANG_LIMIT

TWO = Task("single_label", ("no", "yes"), (1, 1), 2)
THREE = Task("single_label", ("a", "b", "c"), (1, 1, 1), 3)
MULTI = Task("multi_label", ("a", "b"), (1, 1), 2)
SCORE = Task("regression", ("score",))


def log_odds(*scores: float) -> np.ndarray:
    """Return logits of two labels, the second of which has these probabilities."""
    return np.array([[0.0, math.log(score / (1 - score))] for score in scores])


def test_single_label_metrics_by_hand() -> None:
    # predicted: no, yes, yes, yes
    found = compute_metrics(TWO, log_odds(0.2, 0.6, 0.7, 0.9), np.array([0, 0, 1, 1]))
    assert found["accuracy"] == 0.75
    assert found["f1_micro"] == pytest.approx(0.75)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["mcc"] == pytest.approx((2 * 1 - 1 * 0) / math.sqrt(3 * 2 * 2 * 1))
    assert found["auroc"] == 1.0
    assert found["log_loss"] == pytest.approx(-np.mean(np.log([0.8, 0.4, 0.7, 0.9])))
    # each row alone in its bin: confidences 0.8, 0.6, 0.7, 0.9
    assert found["calibration_error"] == pytest.approx((0.2 + 0.6 + 0.3 + 0.1) / 4)


def test_calibration_error_averages_within_a_bin() -> None:
    found = compute_metrics(TWO, log_odds(0.95, 0.95, 0.95, 0.95), np.array([1, 1, 1, 0]))
    assert found["calibration_error"] == pytest.approx(0.2)


def test_auroc_of_three_labels_is_one_against_the_rest() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.35, 0.4, 0.25], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]]))
    found = compute_metrics(THREE, logits, np.array([0, 1, 2, 2]))
    # a: 1; b: its 0.4 beats 0.1 and 0.1 but not 0.6: 2/3; c: 0.2 and 0.8 against 0.1 and 0.25: 1 + 2 of 4
    assert found["auroc"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_auroc_is_the_mean_over_labels_that_occur() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]]))
    found = compute_metrics(THREE, logits, np.array([0, 1, 1]))
    assert found["auroc"] == pytest.approx((1 + 1) / 2)


def test_f1_macro_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    task = Task("single_label", ("a", "b", "c", "d"), (1, 1, 1, 1), 4)
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    found = compute_metrics(task, np.eye(4)[predicted], labels)
    # a: 2/3, b: 1, c: predicted only, 0; d is in neither and does not count
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    several = np.array([[1, 0], [1, 0]])
    found = compute_metrics(MULTI, several - 0.5, several)
    assert found["f1_macro"] == 0.5 == f1_score(several, several, average="macro", zero_division=0.0)


def test_rows_with_unseen_labels_count_as_wrong() -> None:
    task = Task("single_label", ("no", "yes"), (1, 1), 2, unseen_labels=("maybe", "never"))
    labels, logits = np.array([0, 1, 2, 3]), log_odds(0.2, 0.6, 0.7, 0.9)
    found = compute_metrics(task, logits, labels)
    assert found["accuracy"] == found["f1_micro"] == 0.5
    # no: 1, yes: precision 1/3 and recall 1, the two unseen labels: 0
    assert found["f1_macro"] == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert found["calibration_error"] == pytest.approx((0.2 + 0.4 + 0.7 + 0.9) / 4)
    known = compute_metrics(TWO, logits[:2], labels[:2])
    assert (found["auroc"], found["log_loss"]) == (known["auroc"], known["log_loss"])


def test_multi_label_takes_one_label_and_labels_of_any_name() -> None:
    task = Task("multi_label", ("macro",), (1,), 2)
    found = compute_metrics(task, np.array([[1.0], [-1.0], [2.0]]), np.array([[1.0], [1.0], [0.0]]))
    assert found["f1/macro"] == found["f1_macro"] == found["f1_micro"] == pytest.approx(0.5)
    assert found["auroc"] == 0.0


def test_metrics_that_are_not_defined_are_nan() -> None:
    one_class = compute_metrics(TWO, log_odds(0.2, 0.6), np.array([0, 0]))
    assert math.isnan(one_class["auroc"])
    assert math.isnan(one_class["mcc"])
    assert one_class["accuracy"] == 0.5
    constant = compute_metrics(SCORE, np.ones((3, 1)), np.array([1.0, 2.0, 3.0]))
    assert math.isnan(constant["pearson"])
    assert constant["mse"] == pytest.approx(5 / 3)
    assert math.isnan(compute_metrics(MULTI, np.ones((2, 2)), np.ones((2, 2)))["auroc"])


def test_multi_label_metrics_by_hand() -> None:
    logits = np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    labels = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = compute_metrics(MULTI, logits, labels)
    assert found["subset_accuracy"] == pytest.approx(2 / 3)
    assert found["f1/a"] == pytest.approx(2 / 3)
    assert found["f1/b"] == pytest.approx(1.0)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["f1_micro"] == pytest.approx(4 / 5)
    assert found["auroc"] == pytest.approx((0.75 + 1) / 2)
    sure = 1 / (1 + math.exp(-1))
    assert found["log_loss"] == pytest.approx(-(5 * math.log(sure) + math.log(1 - sure)) / 6)


def test_regression_metrics_by_hand() -> None:
    found = compute_metrics(SCORE, np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 3.0, 2.0]))
    assert found["spearman"] == pytest.approx(0.5)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 4], [1, 3, 2])[0, 1])
    assert found["mse"] == pytest.approx((0 + 1 + 4) / 3)


def test_metric_names_are_those_of_the_metrics() -> None:
    assert metric_names(TWO) == list(compute_metrics(TWO, np.eye(2), np.arange(2)))
    assert metric_names(SCORE) == list(compute_metrics(SCORE, np.ones((2, 1)), np.arange(2)))
    assert metric_names(MULTI) == list(compute_metrics(MULTI, np.eye(2), np.eye(2)))


def test_higher_is_better_knows_errors_from_merits() -> None:
    assert not any(map(higher_is_better, ("loss", "log_loss", "mse", "calibration_error")))
    assert all(map(higher_is_better, ("accuracy", "f1_macro", "auroc", "pearson", "f1/joy")))


def test_probabilities_and_predictions_of_each_kind() -> None:
    assert probabilities(TWO, log_odds(0.3))[0].tolist() == pytest.approx([0.7, 0.3])
    assert probabilities(MULTI, np.array([[0.0, 100.0]]))[0].tolist() == pytest.approx([0.5, 1.0])
    assert probabilities(SCORE, np.array([[3.5]])).tolist() == [[3.5]]
    assert predictions(TWO, log_odds(0.3, 0.7)).tolist() == [0, 1]
    assert predictions(MULTI, np.array([[-1.0, 1.0]])).tolist() == [[0, 1]]
    assert predictions(SCORE, np.array([[3.5]])).tolist() == [3.5]


def test_metrics_are_computed_in_two_processes_at_once() -> None:
    code = (
        "import numpy as np; from research.tasks.task import Task\n"
        "from research.learning.metrics import compute_metrics\n"
        "task = Task('single_label', ('a', 'b'), (1, 1), 2)\n"
        "for _ in range(20): compute_metrics(task, np.eye(2), np.arange(2))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=HANG_LIMIT) for process in processes] == [0, 0]


@pytest.mark.parametrize("num_labels", [2, 3, 150])
def test_single_label_metrics_are_those_of_scikit_learn(num_labels: int) -> None:
    generator = np.random.default_rng(num_labels)
    labels = generator.integers(0, num_labels, 400)
    # Rounded, so that scores are equal in many rows; no row is predicted as the last label.
    logits = np.round(generator.normal(size=(400, num_labels)) + 2 * np.eye(num_labels)[labels], 1).astype(np.float32)
    logits[0, labels[0]] = -1000  # a probability of 0
    task = Task("single_label", tuple(map(str, range(num_labels))), (1,) * num_labels, num_labels)
    found = compute_metrics(task, logits, labels)
    scores, predicted = probabilities(task, logits), logits.argmax(axis=1)
    one_hot = np.eye(num_labels)[labels]
    columns = [1] if num_labels == 2 else np.unique(labels)
    areas = [sklearn.metrics.roc_auc_score(one_hot[:, index], scores[:, index]) for index in columns]
    assert found["auroc"] == pytest.approx(np.mean(areas), rel=1e-12)
    assert found["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, predicted), rel=1e-12)
    log_loss = sklearn.metrics.log_loss(labels, scores, labels=range(num_labels))
    assert found["log_loss"] == pytest.approx(log_loss, rel=1e-12)


def test_multi_label_metrics_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 60)) < 0.05).astype(float)
    labels[:, 7] = 0  # never applies
    logits = np.round(generator.normal(size=(300, 60)) - 1 + 2 * labels, 1)
    task = Task("multi_label", tuple(map(str, range(60))), (1,) * 60, 300)
    found = compute_metrics(task, logits, labels)
    each = sklearn.metrics.f1_score(labels, logits > 0, average=None, zero_division=0.0)
    assert [found[f"f1/{name}"] for name in task.label_names] == pytest.approx(each)
    areas = [sklearn.metrics.roc_auc_score(labels[:, i], logits[:, i]) for i in range(60) if labels[:, i].any()]
    assert found["auroc"] == pytest.approx(np.mean(areas), rel=1e-12)
    micro = sklearn.metrics.f1_score(labels, logits > 0, average="micro")
    assert (found["f1_macro"], found["f1_micro"]) == pytest.approx((each.mean(), micro))
    assert found["subset_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, logits > 0))
    log_loss = sklearn.metrics.log_loss(labels.ravel(), 1 / (1 + np.exp(-logits.ravel())))
    assert found["log_loss"] == pytest.approx(log_loss, rel=1e-12)


@pytest.mark.parametrize("per_row", ["one label", "several labels"])
def test_label_counts_are_those_of_scikit_learn(per_row: str) -> None:
    generator = np.random.default_rng(0)
    if per_row == "one label":
        labels, predicted = generator.integers(0, 50, size=(2, 90))
    else:
        labels, predicted = (generator.random((2, 90, 50)) < 0.05).astype(int)
    counts = LabelCounts.of(labels, predicted, 50)
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predicted, labels=range(50), zero_division=0.0)
    for found, right in zip((counts.precision, counts.recall, counts.f1, counts.present), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12)


def test_labels_that_no_output_stands_for_are_not_counted() -> None:
    counts = LabelCounts.of(np.array([0, 1, 2]), np.array([0, 0, 1]), num_labels=2)
    assert [counts.right.tolist(), counts.predicted.tolist(), counts.present.tolist()] == [[1, 0], [2, 1], [1, 1]]


@pytest.mark.parametrize("problem_type", ["single_label", "multi_label"])
def test_metrics_of_many_labels_take_less_memory_than_their_probabilities(problem_type: Any) -> None:
    num_rows, num_labels = 1500, 10_000
    logits = np.zeros((num_rows, num_labels), dtype=np.float32)
    task = Task(problem_type, tuple(map(str, range(num_labels))), (1,) * num_labels, num_labels)
    rows = np.arange(num_rows)
    tracemalloc.start()
    found = compute_metrics(
        task, logits, rows if problem_type == "single_label" else rows[:, None] == range(num_labels)
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found["auroc"] == 0.5
    assert peak < 8 * num_rows * num_labels
