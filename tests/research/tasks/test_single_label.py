"""Single-label tasks, compared with values computed by hand and by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics

from research.tasks.single_label import SingleLabel

TWO_LABELS = SingleLabel(("no", "yes"), label_counts=(1, 1), num_train=2)
THREE_LABELS = SingleLabel(("a", "b", "c"), label_counts=(1, 1, 1), num_train=3)


def two_label_logits(*probabilities: float) -> np.ndarray:
    """Return logits of two labels that give the second label these probabilities, one row for each."""
    return np.array([[0.0, math.log(probability / (1 - probability))] for probability in probabilities])


def test_metrics_match_values_computed_by_hand() -> None:
    # The predictions are no, yes, yes, yes.
    metrics = TWO_LABELS.compute_metrics(two_label_logits(0.2, 0.6, 0.7, 0.9), np.array([0, 0, 1, 1]))
    assert metrics["accuracy"] == 0.75
    assert metrics["f1_micro"] == pytest.approx(0.75)
    assert metrics["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    # For yes: 2 true positives, 1 true negative, 1 false positive, no false negative.
    assert metrics["mcc"] == pytest.approx((2 * 1 - 1 * 0) / math.sqrt(3 * 2 * 2 * 1))
    assert metrics["auroc"] == 1.0
    assert metrics["log_loss"] == pytest.approx(-np.mean(np.log([0.8, 0.4, 0.7, 0.9])))
    # Each row is in a bin of its own. The confidences are 0.8, 0.6, 0.7 and 0.9.
    assert metrics["calibration_error"] == pytest.approx((0.2 + 0.6 + 0.3 + 0.1) / 4)


def test_calibration_error_averages_within_a_bin() -> None:
    metrics = TWO_LABELS.compute_metrics(two_label_logits(0.95, 0.95, 0.95, 0.95), np.array([1, 1, 1, 0]))
    assert metrics["calibration_error"] == pytest.approx(0.2)


def test_auroc_of_three_labels_compares_each_label_with_the_rest() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.35, 0.4, 0.25], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]]))
    metrics = THREE_LABELS.compute_metrics(logits, np.array([0, 1, 2, 2]))
    # a: 1. b: 2/3, as 0.4 is above 0.1 and 0.1 but not above 0.6.
    # c: 3/4, as 0.8 is above 0.1 and 0.25, but 0.2 is only above 0.1.
    assert metrics["auroc"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_auroc_is_the_mean_over_labels_that_occur_in_the_rows() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]]))
    metrics = THREE_LABELS.compute_metrics(logits, np.array([0, 1, 1]))
    assert metrics["auroc"] == pytest.approx((1 + 1) / 2)


def test_f1_macro_matches_scikit_learn() -> None:
    task = SingleLabel(("a", "b", "c", "d"), label_counts=(1, 1, 1, 1), num_train=4)
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    metrics = task.compute_metrics(np.eye(4)[predicted], labels)
    # a: 2/3. b: 1. c: 0, because it is predicted but not present. d is neither, so it is not counted.
    assert metrics["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics["f1_macro"] == pytest.approx(sklearn.metrics.f1_score(labels, predicted, average="macro"))


def test_rows_with_unseen_labels_count_as_wrong() -> None:
    task = SingleLabel(("no", "yes"), label_counts=(1, 1), num_train=2, unseen_labels=("maybe", "never"))
    labels, logits = np.array([0, 1, 2, 3]), two_label_logits(0.2, 0.6, 0.7, 0.9)
    metrics = task.compute_metrics(logits, labels)
    assert metrics["accuracy"] == metrics["f1_micro"] == 0.5
    # no: 1. yes: 1/2, from precision 1/3 and recall 1. Each of the two unseen labels: 0.
    assert metrics["f1_macro"] == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert metrics["calibration_error"] == pytest.approx((0.2 + 0.4 + 0.7 + 0.9) / 4)
    metrics_of_seen_labels = TWO_LABELS.compute_metrics(logits[:2], labels[:2])
    for name in ("auroc", "log_loss"):
        assert metrics[name] == metrics_of_seen_labels[name]


def test_unseen_labels_have_names_and_codes_without_a_name_get_a_placeholder() -> None:
    task = SingleLabel(("no", "yes"), unseen_labels=("maybe",))
    names = task.label_name_column(np.array([1, 2, 3])).to_pylist()  # 3 is a code without a name
    assert names[:2] == ["yes", "maybe"]
    assert task.describe_label(3) == names[2]


def test_undefined_metrics_are_nan() -> None:
    metrics = TWO_LABELS.compute_metrics(two_label_logits(0.2, 0.6), np.array([0, 0]))
    assert math.isnan(metrics["auroc"])
    assert math.isnan(metrics["mcc"])
    assert metrics["accuracy"] == 0.5


def test_label_quality_is_recall() -> None:
    quality = THREE_LABELS.label_quality(np.array([0, 0, 1]), np.array([0, 1, 1]))
    np.testing.assert_equal(quality, [0.5, 1.0, np.nan])


@pytest.mark.parametrize("num_labels", [2, 3, 150])
def test_metrics_match_scikit_learn(num_labels: int) -> None:
    generator = np.random.default_rng(num_labels)
    labels = generator.integers(0, num_labels, 400)
    # Rounded, so that many rows have equal scores.
    logits = np.round(generator.normal(size=(400, num_labels)) + 2 * np.eye(num_labels)[labels], 1).astype(np.float32)
    logits[0, labels[0]] = -1000  # a probability of 0
    names = tuple(map(str, range(num_labels)))
    task = SingleLabel(names, label_counts=(1,) * num_labels, num_train=num_labels)
    metrics = task.compute_metrics(logits, labels)
    scores, predicted = task.probabilities(logits), logits.argmax(axis=1)
    one_hot = np.eye(num_labels)[labels]
    columns = [1] if num_labels == 2 else np.unique(labels)  # of two labels, AUROC is that of the second
    areas = [sklearn.metrics.roc_auc_score(one_hot[:, index], scores[:, index]) for index in columns]
    assert metrics["auroc"] == pytest.approx(np.mean(areas), rel=1e-12)
    assert metrics["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, predicted), rel=1e-12)
    log_loss = sklearn.metrics.log_loss(labels, scores, labels=range(num_labels))
    assert metrics["log_loss"] == pytest.approx(log_loss, rel=1e-12)
