"""Count the labels of prepared data, or compute the mean and standard deviation of scores."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from research.data.prepare.splits import Integers
from research.data.sources.split_names import SPLIT_NAMES


class LabelTally(ABC):
    """Counts encoded labels while prepared data are written."""

    @abstractmethod
    def add(self, split: str, labels: pa.Array) -> None:
        """Count the encoded labels of some rows of a split."""

    @abstractmethod
    def facts(self, split: str) -> dict[str, Any]:
        """Return num_unseen (by split) and label_counts, score_mean and score_std (of one split), for a JSON file.

        Args:
            split: the split whose labels are described.
        """

    def find_present_labels(self, splits: Collection[str]) -> dict[str, NDArray[np.bool_]]:
        """Return for each split which labels occur in it, [num_labels]; for scores, an empty dictionary.

        Args:
            splits: splits that have labels.
        """
        return {}


class ScoreTally(LabelTally):
    """Computes the mean and standard deviation of scores."""

    def __init__(self) -> None:
        # For each split, the sum of the scores, the sum of their squares, and their number.
        self._sums = {name: np.zeros(3) for name in SPLIT_NAMES}

    def add(self, split: str, labels: pa.Array) -> None:
        scores = labels.to_numpy(zero_copy_only=False)
        self._sums[split] += scores.sum(), np.square(scores).sum(), len(scores)

    def facts(self, split: str) -> dict[str, Any]:
        *sums, num_rows = self._sums[split]
        mean, mean_square = (np.array(sums) / num_rows).tolist()
        return {
            "num_unseen": dict.fromkeys(SPLIT_NAMES, 0),
            "label_counts": [],
            "score_mean": mean,
            "score_std": math.sqrt(max(mean_square - mean**2, 0.0)) or 1.0,  # never 0, because scores are divided by it
        }


class LabelCodeTally(LabelTally):
    """Counts the rows of each label.

    Args:
        num_labels: number of outputs of the model. Label codes of unseen labels start at this number.
        codes_of: returns all label codes in an array of encoded labels.
        count_unseen: returns the number of rows in an array of encoded labels whose label does not occur in the
            training rows.
    """

    def __init__(
        self, num_labels: int, codes_of: Callable[[pa.Array], Integers], count_unseen: Callable[[pa.Array], int]
    ) -> None:
        self._counts = {name: np.zeros(num_labels, dtype=np.int64) for name in SPLIT_NAMES}
        self._num_unseen: dict[str, int] = dict.fromkeys(SPLIT_NAMES, 0)
        self._codes_of = codes_of
        self._count_unseen = count_unseen

    def add(self, split: str, labels: pa.Array) -> None:
        num_labels = len(self._counts[split])
        self._counts[split] += np.bincount(self._codes_of(labels), minlength=num_labels)[:num_labels]
        self._num_unseen[split] += self._count_unseen(labels)

    def facts(self, split: str) -> dict[str, Any]:
        return {
            "num_unseen": self._num_unseen,
            "label_counts": self._counts[split].tolist(),
            "score_mean": 0.0,
            "score_std": 1.0,
        }

    def find_present_labels(self, splits: Collection[str]) -> dict[str, NDArray[np.bool_]]:
        return {name: self._counts[name] > 0 for name in SPLIT_NAMES if name in splits}
