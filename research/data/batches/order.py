"""Order the rows of an epoch into global batches, and split these among processes into micro-batches.

The order of rows is determined by their lengths, the batch size, the seed and the epoch. It does not depend
on the number of processes, the micro-batch size, edits, or whether the run was resumed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RowIndices = NDArray[np.int64]

NUM_BATCHES_PER_POOL = 50
"""Number of batches whose rows are sorted by length together. Larger pools need less padding but shuffle less."""


@dataclass(frozen=True)
class MicroBatch:
    """Rows that one process sends through the model at once."""

    rows: RowIndices
    """Indices of the rows in their split, [micro_batch]."""
    weights: NDArray[np.float32]
    """0 for a copy added to give all processes equally many rows, otherwise 1, [micro_batch]."""


def global_batches(lengths: NDArray[np.int32], batch_size: int, seed: int, epoch: int) -> list[RowIndices]:
    """Return the global batches of an epoch, each with rows of similar length.

    Rows are shuffled, sorted by length within pools of `NUM_BATCHES_PER_POOL` batches, and cut into batches. The
    batches are then shuffled, except that an incomplete batch is always last.

    Args:
        lengths: untruncated length of each row in tokens, [num_rows].
        batch_size: number of rows per batch.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    num_full, num_rest = divmod(len(lengths), batch_size)
    batches = _cut_into_batches(lengths, [batch_size] * num_full, generator)
    return batches if num_rest else batches[:-1]


def buffer_batches(
    lengths: NDArray[np.int32], num_read: int, batch_size: int, seed: int, epoch: int, buffer: int
) -> list[RowIndices]:
    """Return the global batches of a buffer of streamed rows, each with rows of similar length.

    Without bad rows, they are made like those of an epoch. Bad rows do not change the number of batches, which must be
    known before the rows are read. Instead, the usable rows are divided evenly among the batches.

    Args:
        lengths: length of each usable row, [num_rows].
        num_read: number of rows of the buffer, including bad rows.
        batch_size: number of rows per batch.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        buffer: number of the buffer in the epoch, from 0.
    Raises:
        ValueError: if there are too few usable rows for this number of batches.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch, buffer]))
    num_rows, num_batches = len(lengths), -(-num_read // batch_size)  # rounded up
    if num_rows < num_batches:
        raise ValueError(
            f"Expected at least one usable row per batch; only {num_rows:,} of {num_read:,} rows in a buffer are "
            "usable. Remove bad rows from the files, or raise --batch_size."
        )
    sizes = [batch_size] * (num_read // batch_size)
    if num_rows < num_read:
        sizes = [num_rows // num_batches + (index < num_rows % num_batches) for index in range(num_batches)]
    batches = _cut_into_batches(lengths, sizes, generator)
    return batches if len(batches[-1]) else batches[:-1]


def _cut_into_batches(lengths: NDArray[np.int32], sizes: list[int], generator: np.random.Generator) -> list[RowIndices]:
    """Return shuffled batches of the given sizes with rows of similar length, and a last batch of all other rows."""
    order = generator.permutation(len(lengths))
    ends = np.cumsum([0, *sizes])
    ends_of_pools = [*ends[:-1:NUM_BATCHES_PER_POOL], ends[-1]]
    pools = [order[start:end] for start, end in itertools.pairwise(ends_of_pools)]
    # NumPy needs at least one array, so the empty order[:0] is for an epoch with no full batch and thus no pool.
    full = np.concatenate([order[:0], *(pool[np.argsort(lengths[pool], kind="stable")] for pool in pools)])
    batches = [full[start:end] for start, end in itertools.pairwise(ends)]
    batches = [batches[index] for index in generator.permutation(len(batches))]
    return [*batches, order[ends[-1] :]]


def split_batch(batch: RowIndices, process: int, num_processes: int, micro_batch_size: int) -> list[MicroBatch]:
    """Return one process's micro-batches of a global batch.

    All processes get the same number of micro-batches with the same sizes. If the batch cannot be divided evenly, its
    first row is repeated with weight 0.

    Args:
        batch: row indices of the global batch, [batch_size].
        process: index of the process.
        num_processes: number of processes that share the batch.
        micro_batch_size: maximum number of rows in one micro-batch.
    """
    per_process = -(-len(batch) // num_processes)  # rounded up
    num_micro_batches = -(-per_process // micro_batch_size)
    rows = batch[process::num_processes]
    weights = np.ones(len(rows), dtype=np.float32)
    if len(rows) < per_process:
        rows, weights = np.append(rows, batch[0]), np.append(weights, np.float32(0))
    return [
        MicroBatch(micro_rows, micro_weights)
        for micro_rows, micro_weights in zip(
            np.array_split(rows, num_micro_batches), np.array_split(weights, num_micro_batches), strict=True
        )
    ]


def evaluation_batches(
    lengths: NDArray[np.int32], process: int, num_processes: int, batch_size: int
) -> list[MicroBatch]:
    """Return one process's batches of a whole split, longest rows first.

    Each row of the split has weight 1 in the batches of exactly one process.

    Args:
        lengths: untruncated length of each row in tokens, [num_rows].
        process: index of the process.
        num_processes: number of processes that share the split.
        batch_size: maximum number of rows in one batch.
    """
    order = np.argsort(-lengths, kind="stable")
    global_size = batch_size * num_processes
    return [
        batch
        for start in range(0, len(order), global_size)
        for batch in split_batch(order[start : start + global_size], process, num_processes, batch_size)
    ]
