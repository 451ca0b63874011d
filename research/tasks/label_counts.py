"""Counts of labels, from which precision, recall and F1 are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class LabelCounts:
    """Counts of rows per label; each field is [num_labels].

    scikit-learn's counts are not used, because they take ten times as long, and several times the memory, for
    multi-label data with thousands of labels.
    """

    correct: Counts
    """Rows that have the label and are predicted to have it."""
    predicted: Counts
    """Rows that are predicted to have the label."""
    present: Counts
    """Rows that have the label."""

    @classmethod
    def of(cls, labels: NDArray[Any], predicted: NDArray[Any], num_labels: int) -> LabelCounts:
        """Count the labels and predictions of rows.

        Args:
            labels: [num_rows], or [num_rows, num_labels] of zeros and ones.
            predicted: predictions of the same shape.
            num_labels: number of outputs of the model. Label codes from this number on are not counted: they are the
                codes of unseen labels, for which the model has no output.
        """
        if labels.ndim == 1:
            correct = labels[labels == predicted]
            return cls(*(np.bincount(each, minlength=num_labels)[:num_labels] for each in (correct, predicted, labels)))
        has_label, is_predicted = labels.astype(bool), predicted.astype(bool)
        return cls(*(np.count_nonzero(mask, axis=0) for mask in (has_label & is_predicted, is_predicted, has_label)))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Of the rows predicted to have a label, the share that do have it; 0 if there are no such rows."""
        return np.asarray(self.correct / np.maximum(self.predicted, 1))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Of the rows that have a label, the share predicted to have it; 0 if there are no such rows."""
        return np.asarray(self.correct / np.maximum(self.present, 1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall; 0 for a label that is neither present nor predicted."""
        return np.asarray(2 * self.correct / np.maximum(self.predicted + self.present, 1))

    @property
    def f1_micro(self) -> float:
        """F1 computed from the sums of the counts over all labels."""
        return float(2 * self.correct.sum() / max(self.predicted.sum() + self.present.sum(), 1))
