"""Matthews correlation, compared with scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from research.tasks.matthews import matthews_correlation


@pytest.mark.parametrize("num_labels", [2, 3, 40])
def test_matthews_correlation_matches_scikit_learn(num_labels: int) -> None:
    generator = np.random.default_rng(num_labels)
    labels, random_labels = generator.integers(num_labels, size=(2, 300))
    predicted = np.where(generator.random(300) < 0.4, labels, random_labels)
    assert matthews_correlation(labels, predicted) == pytest.approx(matthews_corrcoef(labels, predicted), abs=1e-12)


def test_matthews_correlation_is_nan_for_constant_labels_and_0_for_constant_predictions() -> None:
    assert math.isnan(matthews_correlation(np.array([1, 1]), np.array([0, 1])))
    assert matthews_correlation(np.array([0, 1]), np.array([1, 1])) == 0.0
