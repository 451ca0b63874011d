"""Temperature scaling: divide logits by one number, so that probabilities match observed frequencies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.tasks.softmax import row_blocks

Floats = NDArray[np.floating[Any]]

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
"""Range of temperatures. If every prediction is right, for example, the best temperature would be 0."""


def fit_temperature(
    logits: Floats, targets_of: Callable[[slice], NDArray[Any]], probabilities_of: Callable[[Floats], Floats]
) -> float:
    """Return the temperature that minimises the mean negative log-likelihood of labels, or the nearest in the range.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2. Differs: finds the root of the
    derivative with respect to the inverse temperature, which is increasing for a softmax and a sigmoid.

    The result is rounded to six significant digits: it is the same if the logits have rounding errors.

    Args:
        logits: [num_rows, num_labels].
        targets_of: returns 1 for each label that a row has and 0 otherwise, for a block of rows.
        probabilities_of: softmax or sigmoid of the logits of a block of rows.
    """
    from scipy.optimize import brentq

    def slope(log_temperature: float) -> float:
        """Return the derivative of the negative log-likelihood with respect to the inverse temperature."""
        inverse = math.exp(-log_temperature)
        total = 0.0
        for rows in row_blocks(*logits.shape):
            block = logits[rows].astype(np.float64)
            total += float(((probabilities_of(block * inverse) - targets_of(rows)) * block).sum())
        return total / len(logits)

    lowest, highest = math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)
    if slope(lowest) <= 0:
        return LOWEST_TEMPERATURE
    if slope(highest) >= 0:
        return HIGHEST_TEMPERATURE
    return float(f"{math.exp(brentq(slope, lowest, highest, xtol=1e-12)):.6g}")
