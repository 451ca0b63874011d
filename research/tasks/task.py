"""What is to be predicted: the kind of labels and their names."""

from __future__ import annotations

from collections.abc import Iterable
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
    unseen_labels: tuple[str, ...] = ()
    """Labels of validation or test rows that no training row has, numbered after `label_names`; the model has no output
    for them, so that their rows count as wrong (single_label)."""

    @property
    def num_labels(self) -> int:
        """Outputs of the head."""
        return len(self.label_names)

    def names_of(self, labels: Iterable[int]) -> list[str]:
        """Return the names of labels (single_label), some of which training may never have seen."""
        names = (*self.label_names, *self.unseen_labels, "label unknown to the training rows")
        return [names[min(label, len(names) - 1)] for label in labels]
