"""Base class of tasks whose labels have names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from research.tasks.base import Array, Floats, LabelAgainstRest, Task
from research.tasks.label_counts import LabelCounts


class LabelledTask(Task):
    """Labels with names; the model has one output per label, which determines the label's probability."""

    def count_labels(self, labels: Array, predicted: Array) -> LabelCounts:
        return LabelCounts.of(labels, predicted, self.num_labels)

    @abstractmethod
    def applies(self, labels: Array, label: int) -> NDArray[np.bool_]:
        """Return a mask of the rows that have a label, [num_rows]."""

    @abstractmethod
    def probability_of(self, logits: Floats) -> Callable[[int], Floats]:
        """Return a function that maps a label to its predicted probabilities, [num_rows]."""

    def distinguished_labels(self) -> range:
        """Return the labels that `against_rest` chooses from."""
        return range(self.num_labels)

    def against_rest(self, labels: Array, logits: Floats, max_labels: int) -> tuple[list[LabelAgainstRest], int]:
        counts, probability_of = self.count_labels(labels, labels).present, self.probability_of(logits)
        occurring = [label for label in self.distinguished_labels() if counts[label]]
        chosen = sorted(occurring, key=lambda label: -int(counts[label]))[:max_labels]
        return [
            LabelAgainstRest(self.label_names[label], self.applies(labels, label), probability_of(label))
            for label in chosen
        ], len(occurring)

    @classmethod
    def describe_correctness(cls, mean: float, num_models: int) -> str:
        return f"{round(mean * num_models)} of {num_models} right"
