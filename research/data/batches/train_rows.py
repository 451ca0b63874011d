"""The training rows as the loop sees them: global batches in order, and the columns of rows."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from research.data.batches.order import RowIndices, global_batches
from research.data.batches.sampling import draw_rows
from research.data.sources.bad_rows import SkippedRows
from research.settings.config import Sampling


class TrainRows(ABC):
    """The tokenized training rows of one process."""

    @abstractmethod
    def global_batches(self, batch_size: int, seed: int, epoch: int, *, start: int, stop: int) -> Iterator[RowIndices]:
        """Yield the global batches of an epoch, the same on every process.

        Args:
            batch_size: number of rows per batch.
            seed: seed of the run.
            epoch: number of the epoch, from 0.
            start: number of batches to omit, because a run continues after them.
            stop: number of batches of the epoch.
        """

    @abstractmethod
    def __getitem__(self, rows: RowIndices) -> Mapping[str, Sequence[Any]]:
        """Return columns of rows for the collator.

        Args:
            rows: indices in the current global batch.
        """

    @abstractmethod
    def ids(self, rows: Sequence[int]) -> list[int]:
        """Return the ids of rows of the current global batch."""

    def skipped_rows(self) -> list[SkippedRows]:
        """Return the number of bad rows that were skipped during training, by reason."""
        return []

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must contain besides the clock, as JSON-serialisable values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class PreparedRows(TrainRows):
    """Training rows that were prepared and tokenized before training.

    Args:
        rows: the tokenized rows.
        sampling: shares of the labels in an epoch.
    """

    def __init__(self, rows: Dataset, sampling: Sampling = "natural") -> None:
        self._rows = rows
        self._sampling: Sampling = sampling

    @functools.cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Untruncated length of each row, in tokens, [num_rows]."""
        return np.asarray(self._rows.data.column("length"), dtype=np.int32)

    def global_batches(self, batch_size: int, seed: int, epoch: int, *, start: int, stop: int) -> Iterator[RowIndices]:
        if self._sampling == "natural":
            return iter(global_batches(self.lengths, batch_size, seed, epoch)[start:stop])
        drawn = draw_rows(np.asarray(self._rows.data.column("label")), self._sampling, seed, epoch)
        return (drawn[batch] for batch in global_batches(self.lengths[drawn], batch_size, seed, epoch)[start:stop])

    def __getitem__(self, rows: RowIndices) -> Mapping[str, Sequence[Any]]:
        columns: Mapping[str, Sequence[Any]] = self._rows[rows]
        return columns

    def ids(self, rows: Sequence[int]) -> list[int]:
        ids: list[int] = self._rows.data.column("id").take(rows).to_pylist()
        return ids

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing: the clock determines the position."""
