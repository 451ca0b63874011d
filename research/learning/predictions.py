"""Predictions of a model for a split, with their metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """Predictions for a split, in the order of its rows."""

    ids: NDArray[np.int64]
    """Number of each row, counted from 0 over all files that the split was read from."""
    logits: NDArray[np.floating[Any]]
    """[num_rows, num_labels]; float32 from a model, float64 from a file of predictions."""
    labels: NDArray[np.generic] | None
    """[num_rows] or [num_rows, num_labels], as `Task.label_array` returns them; None if the split has no labels."""
    loss: float
    """Mean loss over the rows whose label has an output in the model; NaN without labels."""
    metrics: dict[str, float]
    """Metrics by name, including the loss; empty without labels."""
