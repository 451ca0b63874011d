"""Expected calibration error by hand."""

from __future__ import annotations

import numpy as np
import pytest

from research.tasks.calibration import calibration_error


def test_calibration_error_weighs_bins_by_their_rows() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.5])
    correct = np.array([True, True, False, True])
    assert calibration_error(confidence, correct) == pytest.approx((abs(2 - 2.7) + abs(1 - 0.5)) / 4)


def test_certain_and_right_has_no_error() -> None:
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0.0
    assert calibration_error(np.array([1.0, 1.0]), np.array([False, False])) == 1.0
