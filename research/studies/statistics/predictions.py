"""Predictions of several runs for the same rows, aligned by the rows' ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from research.studies.statistics.over_examples import Bools
from research.tasks.base import Task

Array = NDArray[Any]


@dataclass(frozen=True)
class AlignedPredictions:
    """What each run says of each row; rows ascend by id."""

    ids: Array
    """Number of each row in its file, [num_rows]."""
    labels: Array
    """[num_rows] or [num_rows, num_labels], as `Task.label_array` returns them."""
    predicted: Array
    """The same for each run, [num_runs, num_rows] or [num_runs, num_rows, num_labels]."""

    def correct(self, task: type[Task]) -> Bools:
        """Return which rows each run has right, [num_runs, num_rows].

        Args:
            task: the kind of labels.
        Raises:
            ValueError: for a kind whose rows are never simply right, such as numbers.
        """
        if task.correctness_is_distance:
            raise ValueError(f"Expected rows that are right or wrong; those of {task.problem_type} have a distance.")
        return task.correctness(self.labels, self.predicted)


def read_predictions(paths: Sequence[Path]) -> AlignedPredictions:
    """Read predictions/<split>.parquet of one run or more.

    Raises:
        ValueError: if two files are not about the same rows with the same labels, or the rows have no labels.
    """
    files = [_read(path) for path in paths]
    ids, labels, _ = files[0]
    for path, (other_ids, other_labels, _) in zip(paths, files, strict=True):
        if not (np.array_equal(ids, other_ids) and np.array_equal(labels, other_labels)):
            raise ValueError(f"Expected the same rows with the same labels in {paths[0]} and {path}; they differ.")
    return AlignedPredictions(ids, labels, np.stack([predicted for _, _, predicted in files]))


def _read(path: Path) -> tuple[Array, Array, Array]:
    """Return ids, labels and predictions, in the order of the ids."""
    table = pq.read_table(path, columns=["id", "label", "prediction"])
    if table.num_rows and table.column("label").null_count == table.num_rows:
        raise ValueError(f"The rows in {path} have no labels.")
    ids, *others = (table.column(name).to_numpy() for name in ("id", "label", "prediction"))
    order = np.argsort(ids)
    # Lists, of several labels per row, come as an array of arrays.
    labels, predicted = (np.stack(list(each)) if each.dtype == object else each for each in others)
    return ids[order], labels[order], predicted[order]
