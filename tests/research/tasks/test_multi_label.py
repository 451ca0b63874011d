"""Multi-label tasks, compared with values computed by hand and by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics

from research.tasks.multi_label import MultiLabel

TASK = MultiLabel(("a", "b"), label_counts=(1, 1), num_train=2)


def test_metrics_match_values_computed_by_hand() -> None:
    logits = np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    labels = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    metrics = TASK.compute_metrics(logits, labels)
    assert metrics["subset_accuracy"] == pytest.approx(2 / 3)
    assert metrics["f1/a"] == pytest.approx(2 / 3)
    assert metrics["f1/b"] == pytest.approx(1.0)
    assert metrics["f1_macro"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["f1_micro"] == pytest.approx(4 / 5)
    assert metrics["auroc"] == pytest.approx((0.75 + 1) / 2)
    probability = 1 / (1 + math.exp(-1))  # of each prediction; 5 of the 6 are right
    assert metrics["log_loss"] == pytest.approx(-(5 * math.log(probability) + math.log(1 - probability)) / 6)


def test_f1_of_a_label_named_macro_does_not_replace_f1_macro() -> None:
    task = MultiLabel(("macro",), label_counts=(1,), num_train=2)
    metrics = task.compute_metrics(np.array([[1.0], [-1.0], [2.0]]), np.array([[1.0], [1.0], [0.0]]))
    assert metrics["f1/macro"] == metrics["f1_macro"] == metrics["f1_micro"] == pytest.approx(0.5)
    assert metrics["auroc"] == 0.0


def test_auroc_is_nan_if_all_rows_have_all_labels() -> None:
    assert math.isnan(TASK.compute_metrics(np.ones((2, 2)), np.ones((2, 2)))["auroc"])


def test_absent_label_lowers_f1_as_in_scikit_learn() -> None:
    labels = np.array([[1, 0], [1, 0]])
    metrics = TASK.compute_metrics(labels - 0.5, labels)  # these logits predict every label correctly
    expected = sklearn.metrics.f1_score(labels, labels, average="macro", zero_division=0.0)
    assert metrics["f1_macro"] == 0.5 == expected


def test_metrics_match_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 60)) < 0.05).astype(float)
    labels[:, 7] = 0  # a label that never applies
    logits = np.round(generator.normal(size=(300, 60)) - 1 + 2 * labels, 1)
    task = MultiLabel(tuple(map(str, range(60))), label_counts=(1,) * 60, num_train=300)
    metrics = task.compute_metrics(logits, labels)
    f1_scores = sklearn.metrics.f1_score(labels, logits > 0, average=None, zero_division=0.0)
    assert [metrics[f"f1/{name}"] for name in task.label_names] == pytest.approx(f1_scores)
    areas = [sklearn.metrics.roc_auc_score(labels[:, i], logits[:, i]) for i in range(60) if labels[:, i].any()]
    assert metrics["auroc"] == pytest.approx(np.mean(areas), rel=1e-12)
    micro = sklearn.metrics.f1_score(labels, logits > 0, average="micro")
    assert (metrics["f1_macro"], metrics["f1_micro"]) == pytest.approx((f1_scores.mean(), micro))
    assert metrics["subset_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, logits > 0))
    log_loss = sklearn.metrics.log_loss(labels.ravel(), 1 / (1 + np.exp(-logits.ravel())))
    assert metrics["log_loss"] == pytest.approx(log_loss, rel=1e-12)
    # These values must be equal to scikit-learn's to the last bit.
    assert task.label_quality(labels, (logits > 0).astype(np.int64)).tolist() == f1_scores.tolist()
