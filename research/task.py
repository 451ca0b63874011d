"""What is to be predicted: the kind of labels and their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProblemType = Literal["single_label", "multi_label", "regression"]


@dataclass(frozen=True)
class Task:
    """The labels of a data set."""

    problem_type: ProblemType
    """One label of several, any number of labels, or a number."""
    label_names: tuple[str, ...]
    """One name per output; for regression the name of the score's column."""
    label_counts: tuple[int, ...] = ()
    """Training rows per label (single_label and multi_label)."""
    num_train: int = 0
    """Training rows."""
    score_mean: float = 0.0
    """Mean of the training rows' scores (regression)."""
    score_std: float = 1.0
    """Standard deviation of the training rows' scores (regression)."""

    @property
    def num_labels(self) -> int:
        """Outputs of the head."""
        return len(self.label_names)
