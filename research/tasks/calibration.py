"""Calibration: how far predicted probabilities differ from observed frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15
"""Number of bins of equal width into which predictions are grouped by confidence."""


@dataclass(frozen=True)
class Reliability:
    """Predictions grouped by confidence; each field is [NUM_BINS]."""

    num_predictions: NDArray[np.int64]
    """Number of predictions in each bin."""
    confidences: NDArray[np.float64]
    """Sum of the confidences."""
    gaps: NDArray[np.float64]
    """Sum of the differences between outcome (0 or 1) and confidence."""

    @classmethod
    def of(cls, confidence: NDArray[np.floating[Any]], correct: NDArray[np.bool_]) -> Reliability:
        """Group predictions.

        Args:
            confidence: predicted probability, [num_predictions].
            correct: whether what was predicted with this probability is true, [num_predictions].
        """
        bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
        confidences, gaps = (
            np.asarray(np.bincount(bins, weights=each, minlength=NUM_BINS), dtype=np.float64)
            for each in (confidence, correct - confidence)
        )
        return cls(np.bincount(bins, minlength=NUM_BINS), confidences, gaps)

    def __add__(self, other: Reliability) -> Reliability:
        """Return the groups of both sets of predictions."""
        return Reliability(
            self.num_predictions + other.num_predictions, self.confidences + other.confidences, self.gaps + other.gaps
        )

    @property
    def calibration_error(self) -> float:
        """Expected calibration error.

        Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.
        """
        return float(np.abs(self.gaps).sum() / self.num_predictions.sum())


def calibration_error(confidence: NDArray[np.floating[Any]], correct: NDArray[np.bool_]) -> float:
    """Return the expected calibration error. For the arguments, see `Reliability.of`."""
    return Reliability.of(confidence, correct).calibration_error
