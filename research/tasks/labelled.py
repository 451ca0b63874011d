"""Base class of tasks whose labels have names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from research.tasks.base import Array, Floats, OneVersusRest, Task
from research.tasks.label_counts import LabelCounts
from research.tasks.temperature import fit_temperature


class LabelledTask(Task):
    """A task whose labels are classes with names. For each of them, the model has one output."""

    has_temperature = True

    def count_labels(self, labels: Array, predicted: Array) -> LabelCounts:
        return LabelCounts.of(labels, predicted, self.num_labels)

    @abstractmethod
    def has_label(self, labels: Array, label: int) -> NDArray[np.bool_]:
        """Return a mask of the rows that have the label with this code, [num_rows]."""

    @abstractmethod
    def label_indicators(self, labels: Array) -> Array:
        """Return 1 for each label that a row has and 0 otherwise, [num_rows, num_labels]."""

    def fit_temperature(self, logits: Floats, labels: Array) -> float:
        return fit_temperature(logits, lambda rows: self.label_indicators(labels[rows]), self.probabilities)

    @abstractmethod
    def label_probabilities(self, logits: Floats) -> Callable[[int], Floats]:
        """Return a function from a label code to the predicted probability of this label in each row, [num_rows]."""

    def one_versus_rest_candidates(self) -> range:
        """Return the codes of the labels that `one_versus_rest` chooses from."""
        return range(self.num_labels)

    def one_versus_rest(self, labels: Array, logits: Floats, max_labels: int) -> tuple[list[OneVersusRest], int]:
        counts, probabilities_of = self.count_labels(labels, labels).present, self.label_probabilities(logits)
        occurring = [label for label in self.one_versus_rest_candidates() if counts[label]]
        chosen = sorted(occurring, key=lambda label: -int(counts[label]))[:max_labels]
        return [
            OneVersusRest(self.label_names[label], self.has_label(labels, label), probabilities_of(label))
            for label in chosen
        ], len(occurring)

    @classmethod
    def describe_correctness(cls, mean: float, num_models: int) -> str:
        return f"{round(mean * num_models)} of {num_models} right"
