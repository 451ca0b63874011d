"""Predictions of several runs for the same rows, aligned by row id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from research.studies.statistics.over_rows import Bools
from research.tasks.base import Task

Array = NDArray[Any]


@dataclass(frozen=True)
class AlignedPredictions:
    """Predictions of several runs for the same rows, in ascending order of the row ids."""

    ids: Array
    """Number of each row, counted from 0 over all files of the split, [num_rows]."""
    labels: Array
    """True labels as returned by `Task.label_array`, [num_rows] or [num_rows, num_labels]."""
    predicted: Array
    """Predicted labels of each run, [num_runs, num_rows] or [num_runs, num_rows, num_labels]."""

    def are_correct(self, task: type[Task]) -> Bools:
        """Return whether each run predicts each row correctly, [num_runs, num_rows].

        Args:
            task: the task.
        Raises:
            ValueError: for a task whose predictions are not simply right or wrong, such as regression.
        """
        if task.correctness_is_distance:
            raise ValueError(
                f"Expected a task with right or wrong predictions; predictions of {task.name} have a distance."
            )
        return task.correctness(self.labels, self.predicted)


def read_predictions(paths: Sequence[Path]) -> AlignedPredictions:
    """Read predictions/<split>.parquet of one or several runs.

    Raises:
        ValueError: if two files do not have the same rows with the same labels, or if the rows have no labels.
    """
    files = [_read(path) for path in paths]
    ids, labels, _ = files[0]
    for path, (other_ids, other_labels, _) in zip(paths, files, strict=True):
        if not (np.array_equal(ids, other_ids) and np.array_equal(labels, other_labels)):
            raise ValueError(f"Expected the same rows with the same labels in {paths[0]} and {path}; they differ.")
    return AlignedPredictions(ids, labels, np.stack([predicted for _, _, predicted in files]))


def _read(path: Path) -> tuple[Array, Array, Array]:
    """Return ids, labels and predictions, sorted by id."""
    table = pq.read_table(path, columns=["id", "label", "prediction"])
    if table.num_rows and table.column("label").null_count == table.num_rows:
        raise ValueError(f"The rows in {path} have no labels.")
    ids, *columns = (table.column(name).to_numpy() for name in ("id", "label", "prediction"))
    order = np.argsort(ids)
    # Columns of lists (several labels per row) are read as an array of arrays.
    labels, predicted = (np.stack(list(each)) if each.dtype == object else each for each in columns)
    return ids[order], labels[order], predicted[order]
