"""Single-label tasks, compared with values computed by hand and by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics

from research.tasks.single_label import SingleLabel

TWO = SingleLabel(("no", "yes"), (1, 1), 2)
THREE = SingleLabel(("a", "b", "c"), (1, 1, 1), 3)


def log_odds(*scores: float) -> np.ndarray:
    """Return logits of two labels that give the second label these probabilities."""
    return np.array([[0.0, math.log(score / (1 - score))] for score in scores])


def test_metrics_by_hand() -> None:
    # predicted: no, yes, yes, yes
    found = TWO.compute_metrics(log_odds(0.2, 0.6, 0.7, 0.9), np.array([0, 0, 1, 1]))
    assert found["accuracy"] == 0.75
    assert found["f1_micro"] == pytest.approx(0.75)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["mcc"] == pytest.approx((2 * 1 - 1 * 0) / math.sqrt(3 * 2 * 2 * 1))
    assert found["auroc"] == 1.0
    assert found["log_loss"] == pytest.approx(-np.mean(np.log([0.8, 0.4, 0.7, 0.9])))
    # each row in a bin of its own: confidences 0.8, 0.6, 0.7, 0.9
    assert found["calibration_error"] == pytest.approx((0.2 + 0.6 + 0.3 + 0.1) / 4)


def test_calibration_error_averages_within_a_bin() -> None:
    found = TWO.compute_metrics(log_odds(0.95, 0.95, 0.95, 0.95), np.array([1, 1, 1, 0]))
    assert found["calibration_error"] == pytest.approx(0.2)


def test_auroc_of_three_labels_is_one_against_the_rest() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.35, 0.4, 0.25], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]]))
    found = THREE.compute_metrics(logits, np.array([0, 1, 2, 2]))
    # a: 1; b: 0.4 is above 0.1 and 0.1 but not 0.6: 2/3; c: 0.2 and 0.8 against 0.1 and 0.25: 1 + 2 of 4
    assert found["auroc"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_auroc_is_the_mean_over_labels_that_occur() -> None:
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]]))
    found = THREE.compute_metrics(logits, np.array([0, 1, 1]))
    assert found["auroc"] == pytest.approx((1 + 1) / 2)


def test_f1_macro_matches_scikit_learn() -> None:
    task = SingleLabel(("a", "b", "c", "d"), (1, 1, 1, 1), 4)
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    found = task.compute_metrics(np.eye(4)[predicted], labels)
    # a: 2/3; b: 1; c: only predicted, 0; d: neither present nor predicted, not counted
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["f1_macro"] == pytest.approx(sklearn.metrics.f1_score(labels, predicted, average="macro"))


def test_rows_with_unseen_labels_count_as_wrong() -> None:
    task = SingleLabel(("no", "yes"), (1, 1), 2, unseen_labels=("maybe", "never"))
    labels, logits = np.array([0, 1, 2, 3]), log_odds(0.2, 0.6, 0.7, 0.9)
    found = task.compute_metrics(logits, labels)
    assert found["accuracy"] == found["f1_micro"] == 0.5
    # no: 1; yes: precision 1/3 and recall 1; the two unseen labels: 0
    assert found["f1_macro"] == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert found["calibration_error"] == pytest.approx((0.2 + 0.4 + 0.7 + 0.9) / 4)
    known = TWO.compute_metrics(logits[:2], labels[:2])
    assert (found["auroc"], found["log_loss"]) == (known["auroc"], known["log_loss"])


def test_unseen_labels_have_names() -> None:
    task = SingleLabel(("no", "yes"), unseen_labels=("maybe",))
    names = task.name_column(np.array([1, 2, 3])).to_pylist()
    assert names[:2] == ["yes", "maybe"]
    assert task.describe_label(3) == names[2]


def test_undefined_metrics_are_nan() -> None:
    found = TWO.compute_metrics(log_odds(0.2, 0.6), np.array([0, 0]))
    assert math.isnan(found["auroc"])
    assert math.isnan(found["mcc"])
    assert found["accuracy"] == 0.5


def test_label_quality_is_recall() -> None:
    found = THREE.label_quality(np.array([0, 0, 1]), np.array([0, 1, 1]))
    np.testing.assert_equal(found, [0.5, 1.0, np.nan])


@pytest.mark.parametrize("num_labels", [2, 3, 150])
def test_metrics_match_scikit_learn(num_labels: int) -> None:
    generator = np.random.default_rng(num_labels)
    labels = generator.integers(0, num_labels, 400)
    # Rounded, so that many rows have equal scores; no row is predicted as the last label.
    logits = np.round(generator.normal(size=(400, num_labels)) + 2 * np.eye(num_labels)[labels], 1).astype(np.float32)
    logits[0, labels[0]] = -1000  # a probability of 0
    task = SingleLabel(tuple(map(str, range(num_labels))), (1,) * num_labels, num_labels)
    found = task.compute_metrics(logits, labels)
    scores, predicted = task.probabilities(logits), logits.argmax(axis=1)
    one_hot = np.eye(num_labels)[labels]
    columns = [1] if num_labels == 2 else np.unique(labels)
    areas = [sklearn.metrics.roc_auc_score(one_hot[:, index], scores[:, index]) for index in columns]
    assert found["auroc"] == pytest.approx(np.mean(areas), rel=1e-12)
    assert found["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, predicted), rel=1e-12)
    log_loss = sklearn.metrics.log_loss(labels, scores, labels=range(num_labels))
    assert found["log_loss"] == pytest.approx(log_loss, rel=1e-12)
