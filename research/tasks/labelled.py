"""Base class of tasks whose labels have names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from research.tasks.base import Array, Floats, LabelAgainstRest, Task
from research.tasks.label_counts import LabelCounts


class LabelledTask(Task):
    """Labels with names; each label has an output that gives its probability."""

    def count_labels(self, labels: Array, predicted: Array) -> LabelCounts:
        return LabelCounts.of(labels, predicted, self.num_labels)

    @abstractmethod
    def applies(self, labels: Array, label: int) -> NDArray[np.bool_]:
        """Return a mask of the rows that have a label, [num_rows]."""

    @abstractmethod
    def probability_of(self, logits: Floats) -> Callable[[int], Floats]:
        """Return a function from a label to its predicted probability, [num_rows]."""

    def distinguished_labels(self) -> range:
        """Return the labels that `against_rest` chooses from."""
        return range(self.num_labels)

    def against_rest(self, labels: Array, logits: Floats, most: int) -> tuple[list[LabelAgainstRest], int]:
        counts, probability_of = self.count_labels(labels, labels).present, self.probability_of(logits)
        occurring = [label for label in self.distinguished_labels() if counts[label]]
        chosen = sorted(occurring, key=lambda label: -int(counts[label]))[:most]
        return [
            LabelAgainstRest(self.label_names[label], self.applies(labels, label), probability_of(label))
            for label in chosen
        ], len(occurring)

    @classmethod
    def describe_correctness(cls, mean: float, num_models: int) -> str:
        return f"{round(mean * num_models)} of {num_models} right"
