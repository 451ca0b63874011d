"""Expected calibration error, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from research.tasks.calibration import Reliability, calibration_error
from research.tasks.multi_label import MultiLabel
from research.tasks.regression import Regression


def test_calibration_error_weights_bins_by_number_of_rows() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.5])
    correct = np.array([True, True, False, True])
    # In each bin, the number of correct rows is compared with the sum of their confidences.
    assert calibration_error(confidence, correct) == pytest.approx((abs(2 - 2.7) + abs(1 - 0.5)) / 4)


def test_calibration_error_of_certain_predictions_is_their_error_rate() -> None:
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0.0
    assert calibration_error(np.array([1.0, 1.0]), np.array([False, False])) == 1.0


def test_reliability_of_parts_adds_up() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.random(100)
    correct = generator.random(100) < confidence
    parts = Reliability.of(confidence[:30], correct[:30]) + Reliability.of(confidence[30:], correct[30:])
    whole = Reliability.of(confidence, correct)
    assert np.array_equal(parts.num_predictions, whole.num_predictions)
    assert parts.calibration_error == pytest.approx(whole.calibration_error)


def test_reliability_of_several_labels_groups_all_pairs_of_row_and_label(monkeypatch: pytest.MonkeyPatch) -> None:
    task = MultiLabel(("a", "b"))
    logits, labels = np.array([[0.0, 0.0], [0.0, 9.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    reliability = task.reliability(logits, labels)
    assert reliability.num_predictions.tolist() == [0] * 7 + [3] + [0] * 6 + [1]
    assert reliability.calibration_error == pytest.approx((0.5 + 1 - 1 / (1 + np.exp(-9.0))) / 4)
    monkeypatch.setattr("research.tasks.softmax.BLOCK_BYTES", 16)  # one row per block
    assert task.reliability(logits, labels).calibration_error == pytest.approx(reliability.calibration_error)


def test_scores_have_no_reliability() -> None:
    assert Regression(("stars",)).reliability(np.array([[1.0]]), np.array([1.0])) is None
