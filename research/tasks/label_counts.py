"""What precision, recall and F1 of labels are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class LabelCounts:
    """In how many rows each label is what; each field is [num_labels].

    scikit-learn's counts take ten times as long, and several times the memory, for thousands of labels of which a row
    may have any number.
    """

    right: Counts
    """Rows that have the label and are predicted as it."""
    predicted: Counts
    """Rows that are predicted as the label."""
    present: Counts
    """Rows that have the label."""

    @classmethod
    def of(cls, labels: NDArray[Any], predicted: NDArray[Any], num_labels: int) -> LabelCounts:
        """Count the rows of a split.

        Args:
            labels: [num_rows], or [num_rows, num_labels] of zeros and ones.
            predicted: of the same shape.
            num_labels: labels that the model has an output for; others are not counted.
        """
        if labels.ndim == 1:
            right = labels[labels == predicted]
            return cls(*(np.bincount(each, minlength=num_labels)[:num_labels] for each in (right, predicted, labels)))
        has, says = labels.astype(bool), predicted.astype(bool)
        return cls(*(np.count_nonzero(each, axis=0) for each in (has & says, says, has)))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of the rows predicted as a label that have it; 0 if there are none."""
        return np.asarray(self.right / np.maximum(self.predicted, 1))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of a label's rows that are predicted as it; 0 if there are none."""
        return np.asarray(self.right / np.maximum(self.present, 1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of both; 0 for a label that is neither present nor predicted."""
        return np.asarray(2 * self.right / np.maximum(self.predicted + self.present, 1))

    @property
    def f1_micro(self) -> float:
        """F1 over all labels at once."""
        return float(2 * self.right.sum() / max(self.predicted.sum() + self.present.sum(), 1))
