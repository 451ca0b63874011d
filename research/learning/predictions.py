"""What a model predicts for a split, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predictions:
    """What a model says of a split, in the order of its rows."""

    ids: NDArray[np.int64]
    """Number of each row over the files that its split came from."""
    logits: NDArray[np.float32]
    """[num_rows, num_labels]."""
    labels: NDArray[np.generic] | None
    """[num_rows] or [num_rows, num_labels], as `Task.label_array` returns them; None if the split has no labels."""
    loss: float
    """Mean of the objective's losses, over rows whose label the model has an output for; NaN without labels."""
    metrics: dict[str, float]
    """Metrics by name, the loss among them; none without labels."""
