"""Which examples make up which step, and which process takes which of them.

The order of examples is a pure function of the seed and the epoch: it does not depend on the number of processes, on
the micro-batch size, on having been resumed, or on edits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RowIndices = NDArray[np.int64]

NUM_BATCHES_PER_POOL = 50
"""Batches whose examples are sorted by length together: wider pools pad less and shuffle less."""


@dataclass(frozen=True)
class MicroBatch:
    """What one process runs forward and backward at once."""

    rows: RowIndices
    """Row numbers in the training split, [micro_batch]."""
    weights: NDArray[np.float32]
    """1 for an example, 0 for a row that is only there so that every process runs equally many, [micro_batch]."""


def global_batches(lengths: NDArray[np.int32], batch_size: int, seed: int, epoch: int) -> list[RowIndices]:
    """Return an epoch's global batches, each of examples of similar length.

    Examples are shuffled, sorted by length within pools of `NUM_BATCHES_PER_POOL` batches, cut into batches, and the
    batches are shuffled. The short last batch, if there is one, stays last.

    Args:
        lengths: untruncated length of every example, in tokens, [num_examples].
        batch_size: examples per batch.
        seed: the run's seed.
        epoch: number of the epoch, from 0.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = generator.permutation(len(lengths))
    num_full = len(order) - len(order) % batch_size
    pool_size = batch_size * NUM_BATCHES_PER_POOL
    pools = [order[start : min(start + pool_size, num_full)] for start in range(0, num_full, pool_size)]
    full = np.concatenate([order[:0], *(pool[np.argsort(lengths[pool], kind="stable")] for pool in pools)])
    batches = [full[start : start + batch_size] for start in range(0, len(full), batch_size)]
    batches = [batches[index] for index in generator.permutation(len(batches))]
    return [*batches, order[num_full:]] if num_full < len(order) else batches


def split_batch(batch: RowIndices, process: int, num_processes: int, micro_batch_size: int) -> list[MicroBatch]:
    """Return one process's micro-batches of a global batch; every process gets equally many, of equal size.

    Args:
        batch: the global batch, [batch_size].
        process: index of the process.
        num_processes: processes that share the batch.
        micro_batch_size: most examples in one micro-batch.
    """
    per_process = -(-len(batch) // num_processes)
    num_micro_batches = -(-per_process // micro_batch_size)
    rows = batch[process::num_processes]
    weights = np.ones(len(rows), dtype=np.float32)
    if len(rows) < per_process:
        rows, weights = np.append(rows, batch[0]), np.append(weights, np.float32(0))
    return [
        MicroBatch(part, weight)
        for part, weight in zip(
            np.array_split(rows, num_micro_batches), np.array_split(weights, num_micro_batches), strict=True
        )
    ]


def evaluation_batches(
    lengths: NDArray[np.int32], process: int, num_processes: int, batch_size: int
) -> list[MicroBatch]:
    """Return one process's batches of a whole split, sorted by length; every row is in exactly one share of weight 1.

    Args:
        lengths: untruncated length of every example, in tokens, [num_examples].
        process: index of the process.
        num_processes: processes that share the split.
        batch_size: most examples in one batch.
    """
    order = np.argsort(-lengths, kind="stable")
    size = batch_size * num_processes
    return [
        share
        for start in range(0, len(order), size)
        for share in split_batch(order[start : start + size], process, num_processes, batch_size)
    ]
