"""Matthews' correlation beside scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from research.tasks.matthews import matthews_correlation


@pytest.mark.parametrize("num_labels", [2, 3, 40])
def test_correlation_is_that_of_scikit_learn(num_labels: int) -> None:
    generator = np.random.default_rng(num_labels)
    labels, drawn = generator.integers(num_labels, size=(2, 300))
    predicted = np.where(generator.random(300) < 0.4, labels, drawn)
    assert matthews_correlation(labels, predicted) == pytest.approx(matthews_corrcoef(labels, predicted), abs=1e-12)


def test_correlation_without_two_labels() -> None:
    assert math.isnan(matthews_correlation(np.array([1, 1]), np.array([0, 1])))
    assert matthews_correlation(np.array([0, 1]), np.array([1, 1])) == 0.0
