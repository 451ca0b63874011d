"""Calibration error: how far predicted probabilities differ from the share of correct predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15
"""Number of bins into which rows are grouped by confidence."""


def calibration_error(confidence: NDArray[np.floating[Any]], correct: NDArray[np.bool_]) -> float:
    """Return the expected calibration error, with bins of equal width.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.

    Args:
        confidence: probability of the predicted label, [num_rows].
        correct: whether the predicted label is correct, [num_rows].
    """
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / len(correct))
