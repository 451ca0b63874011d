"""Matthews correlation coefficient for many labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def matthews_correlation(labels: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Return the Matthews correlation of labels and predictions.

    The result is NaN if all rows have the same label; otherwise, it is 0 if all predictions are the same.

    scikit-learn's function is not used, because it computes the confusion matrix, which does not fit into memory for
    many labels.

    Args:
        labels: label codes, [num_rows].
        predicted: predicted label codes, [num_rows].
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    num_codes = int(max(labels.max(), predicted.max())) + 1
    label_counts, predicted_counts = (
        np.bincount(codes, minlength=num_codes).astype(np.float64) for codes in (labels, predicted)
    )
    num_rows = float(len(labels))
    covariance = float((labels == predicted).sum()) * num_rows - label_counts @ predicted_counts
    variances = (num_rows**2 - predicted_counts @ predicted_counts) * (num_rows**2 - label_counts @ label_counts)
    return float(covariance / np.sqrt(variances)) if variances else 0.0
