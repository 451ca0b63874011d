"""Softmax over many labels, computed for a block of rows or labels at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 2**24
"""Maximum size of a block of probabilities, in bytes."""


def row_blocks(num_rows: int, num_labels: int) -> Iterator[slice]:
    """Yield blocks of at least one row whose float64 probabilities stay within BLOCK_BYTES if possible."""
    rows_per_block = max(1, BLOCK_BYTES // (8 * num_labels))
    return (slice(start, min(start + rows_per_block, num_rows)) for start in range(0, num_rows, rows_per_block))


class BlockSoftmax:
    """Label probabilities in float64, computed when requested, because the complete array may not fit into memory.

    Args:
        logits: [num_rows, num_labels].
    """

    @np.errstate(invalid="ignore")  # logits that are not finite are reported by the caller
    def __init__(self, logits: NDArray[np.floating[Any]]) -> None:
        self._logits = logits
        self._highest = logits.max(axis=1, keepdims=True).astype(np.float64)
        blocks = row_blocks(*logits.shape)
        sums = [np.exp(logits[rows] - self._highest[rows]).sum(axis=1, keepdims=True) for rows in blocks]
        self._sums = np.concatenate(sums)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the most likely label, [num_rows]."""
        return 1 / self._sums[:, 0]  # the highest logit is subtracted from all, so its exponential is 1

    def probabilities_of(self, labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Return the probability of each row's label in `labels`, [num_rows]."""
        return self._normalise(np.take_along_axis(self._logits, labels[:, None], axis=1), slice(None))[:, 0]

    def rows(self, rows: slice) -> NDArray[np.float64]:
        """Return the probabilities of a block of rows, [rows of the block, num_labels]."""
        return self._normalise(self._logits[rows], rows)

    def columns(self, labels: slice) -> NDArray[np.float64]:
        """Return the probabilities of a block of labels, [num_rows, labels of the block]."""
        return self._normalise(self._logits[:, labels], slice(None))

    @np.errstate(invalid="ignore")
    def _normalise(self, logits: NDArray[np.floating[Any]], rows: slice) -> NDArray[np.float64]:
        return np.asarray(np.exp(logits - self._highest[rows]) / self._sums[rows])
