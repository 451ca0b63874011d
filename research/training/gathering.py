"""Collect the values that all processes compute for the rows of a split, a few batches at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

CHUNK_BYTES = 2**26
"""Size in bytes of the values that one process collects before they are gathered from all processes."""


class RowGatherer:
    """Gathers values from all processes into arrays in the order of the rows.

    Values are gathered in chunks, so that apart from the arrays, the memory used does not grow with the split.

    Args:
        accelerator: gathers over the processes. All of them must add batches of the same shapes.
        num_rows: number of rows in the split.
    """

    def __init__(self, accelerator: Accelerator, num_rows: int) -> None:
        self._accelerator = accelerator
        self._times_seen = np.zeros(num_rows, dtype=np.int64)
        self._pending: list[tuple[Tensor, ...]] = []
        self._num_bytes = 0
        self._arrays: list[NDArray[Any]] = []

    def add(self, positions: Tensor, weights: Tensor, *values: Tensor) -> None:
        """Add the values of a batch.

        Args:
            positions: index of each row in the split, [batch].
            weights: 0 for rows that only fill up a batch and are ignored, [batch].
            *values: tensors with a value for each row, such as logits, each [batch, ...].
        """
        self._pending.append((positions, weights, *values))
        self._num_bytes += sum(value.nbytes for value in values)
        if self._num_bytes >= CHUNK_BYTES:
            self._gather()

    def finish(self) -> list[NDArray[Any]]:
        """Gather the remaining values, and return the values of all rows, each [num_rows, ...]."""
        if self._pending:
            self._gather()
        assert (self._times_seen == 1).all(), f"expected each row once, found counts: {np.unique(self._times_seen)}"
        return self._arrays

    def _gather(self) -> None:
        batches, self._pending, self._num_bytes = self._pending, [], 0
        positions, weights, *values = (
            self._accelerator.gather(torch.cat(parts)).cpu().numpy() for parts in zip(*batches, strict=True)
        )
        is_counted = weights > 0
        rows = positions[is_counted]
        if not self._arrays:
            self._arrays = [np.empty((len(self._times_seen), *each.shape[1:]), dtype=each.dtype) for each in values]
        for array, each in zip(self._arrays, values, strict=True):
            array[rows] = each if is_counted.all() else each[is_counted]
        np.add.at(self._times_seen, rows, 1)


def sum_over_processes(accelerator: Accelerator, value: Tensor) -> float:
    """Return the sum of a number over all processes; called on every process.

    Args:
        accelerator: reduces over the processes.
        value: this process's number, [].
    """
    return float(accelerator.reduce(value.double(), reduction="sum").item())
