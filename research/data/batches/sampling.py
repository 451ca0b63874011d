"""Draw the training examples of an epoch with chosen shares of the labels, for data with unequal numbers per label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from research.data.batches.order import RowIndices
from research.data.prepare.splits import allocate
from research.settings.config import Sampling
from research.tasks.base import Task

_EXPONENTS = {"square_root": 0.5, "balanced": 0.0}
"""The share of a label is proportional to its number of rows to the power of this number."""
_SAMPLING = 0x5A4D
"""Appended to the seed, so that rows are drawn with different random numbers from those that order them."""


def check_sampling(sampling: Sampling, task: Task) -> None:
    """Check that the rows of a task can be sampled by their label.

    Raises:
        ValueError: if rows do not have exactly one label.
    """
    if sampling != "natural" and (task.labels_are_numbers or task.several_per_row):
        raise ValueError(
            f"--sampling {sampling} needs exactly one label per row; this task is {task.name}. Use --sampling natural."
        )


def draw_rows(labels: NDArray[np.int64], sampling: Sampling, seed: int, epoch: int) -> RowIndices:
    """Return the rows of an epoch: as many as there are training rows, in the order of their labels.

    The number of examples of each label is fixed, not random. If a label needs more examples than it has rows, all of
    its rows are used equally often, up to one. If it needs fewer, the rows are drawn without replacement.

    Args:
        labels: label code of each training row, [num_rows].
        sampling: how the shares of the labels are determined; not `natural`, for which every row is used once.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
    """
    present, label_of_row, num_rows = np.unique(labels, return_inverse=True, return_counts=True)
    num_examples = allocate(len(labels), num_rows ** _EXPONENTS[sampling], seed)
    generator = np.random.Generator(np.random.PCG64([seed, epoch, _SAMPLING]))
    drawn = [np.empty(0, np.int64)]
    for index, num_needed in zip(range(len(present)), num_examples, strict=True):
        rows = np.flatnonzero(label_of_row == index)
        num_repeats, num_rest = divmod(int(num_needed), len(rows))
        drawn += [np.tile(rows, num_repeats), generator.permutation(rows)[:num_rest]]
    return np.concatenate(drawn)
