"""Order the rows of parquet files for one epoch, without reading them.

The order is determined by the sizes of the row groups, the seed and the epoch. Rows are read in buffers, which are
shuffled when they are in memory. A resumed run skips the buffers before its position without reading them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

PartType = TypeVar("PartType", bound="Part")

NUM_OPEN_ROW_GROUPS = 16
"""Number of row groups that are read alternately. A buffer contains rows of at least so many row groups, even if each
has more rows than the buffer."""


class Part(ABC):
    """Consecutive rows."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def cut(self: PartType, start: int, stop: int) -> PartType:
        """Return the rows from `start` to `stop`, counted from the first row of this part."""


@dataclass(frozen=True)
class Piece(Part):
    """Consecutive rows of a row group."""

    row_group: int
    """Number of the row group."""
    start: int
    """First row, counted from the start of the row group."""
    stop: int
    """The row after the last one."""

    def __len__(self) -> int:
        return self.stop - self.start

    def cut(self, start: int, stop: int) -> Piece:
        return Piece(self.row_group, self.start + start, self.start + stop)


def divide_into_buffers(sizes: Sequence[int], buffer_size: int, seed: int, epoch: int) -> Iterator[list[Piece]]:
    """Yield the pieces of each buffer of an epoch. Only the last buffer may have fewer than `buffer_size` rows.

    Args:
        sizes: number of rows of each row group.
        buffer_size: number of rows of a buffer.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
    """
    piece_size = max(1, buffer_size // NUM_OPEN_ROW_GROUPS)
    return fill_buffers(_order_pieces(sizes, piece_size, seed, epoch), buffer_size)


def _order_pieces(sizes: Sequence[int], piece_size: int, seed: int, epoch: int) -> Iterator[Piece]:
    """Yield one piece of each open row group in turn. When a row group ends, the next in a random order is opened."""
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    waiting = deque(generator.permutation(len(sizes)).tolist())
    opened: deque[tuple[int, int]] = deque()  # the row group, and the number of its rows in earlier pieces
    while waiting or opened:
        while waiting and len(opened) < NUM_OPEN_ROW_GROUPS:
            opened.append((waiting.popleft(), 0))
        row_group, start = opened.popleft()
        stop = min(start + piece_size, sizes[row_group])
        yield Piece(row_group, start, stop)
        if stop < sizes[row_group]:
            opened.append((row_group, stop))


def fill_buffers(parts: Iterable[PartType], buffer_size: int) -> Iterator[list[PartType]]:
    """Yield the parts of each buffer. A part that does not fit into a buffer continues in the next one."""
    buffer: list[PartType] = []
    room = buffer_size
    for part in parts:
        start = 0
        while len(part) - start >= room:
            yield [*buffer, part.cut(start, start + room)]
            start += room
            buffer, room = [], buffer_size
        if start < len(part):
            buffer.append(part.cut(start, len(part)))
            room -= len(buffer[-1])
    if buffer:
        yield buffer
