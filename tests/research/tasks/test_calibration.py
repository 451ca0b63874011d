"""Expected calibration error, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from research.tasks.calibration import calibration_error


def test_calibration_error_weights_bins_by_number_of_rows() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.5])
    correct = np.array([True, True, False, True])
    # In each bin, the number of correct rows is compared with the sum of their confidences.
    assert calibration_error(confidence, correct) == pytest.approx((abs(2 - 2.7) + abs(1 - 0.5)) / 4)


def test_calibration_error_of_certain_predictions_is_their_error_rate() -> None:
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0.0
    assert calibration_error(np.array([1.0, 1.0]), np.array([False, False])) == 1.0
