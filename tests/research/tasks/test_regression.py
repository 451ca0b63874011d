"""Regression, compared with values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research.tasks.regression import Regression

TASK = Regression(("score",))


def test_metrics_match_values_computed_by_hand() -> None:
    metrics = TASK.compute_metrics(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 3.0, 2.0]))
    assert metrics["spearman"] == pytest.approx(0.5)
    assert metrics["pearson"] == pytest.approx(np.corrcoef([1, 2, 4], [1, 3, 2])[0, 1])
    assert metrics["mse"] == pytest.approx((0 + 1 + 4) / 3)


def test_correlations_with_constant_predictions_are_nan() -> None:
    metrics = TASK.compute_metrics(np.ones((3, 1)), np.array([1.0, 2.0, 3.0]))
    assert math.isnan(metrics["pearson"])
    assert math.isnan(metrics["spearman"])
    assert metrics["mse"] == pytest.approx(5 / 3)
