"""Regression, compared with values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research.tasks.regression import Regression

TASK = Regression(("score",))


def test_metrics_by_hand() -> None:
    found = TASK.compute_metrics(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 3.0, 2.0]))
    assert found["spearman"] == pytest.approx(0.5)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 4], [1, 3, 2])[0, 1])
    assert found["mse"] == pytest.approx((0 + 1 + 4) / 3)


def test_correlations_of_a_constant_are_nan() -> None:
    found = TASK.compute_metrics(np.ones((3, 1)), np.array([1.0, 2.0, 3.0]))
    assert math.isnan(found["pearson"])
    assert math.isnan(found["spearman"])
    assert found["mse"] == pytest.approx(5 / 3)
