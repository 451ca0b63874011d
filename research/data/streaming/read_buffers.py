"""Read the rows of a data set in buffers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pyarrow as pa

from research.data.prepare.streamed import StreamedRows
from research.data.sources.arrow_tables import ParquetTable
from research.data.sources.reading import convert_read_errors
from research.data.streaming.checked_rows import CheckedRows, Chunk, check_rows
from research.data.streaming.pieces import Piece, divide_into_buffers, fill_buffers


def read_buffers(rows: StreamedRows, buffer_size: int, seed: int, epoch: int, *, first: int) -> Iterator[CheckedRows]:
    """Yield the rows of the buffers of an epoch, from buffer number `first` on.

    Of parquet files, only the row groups of these buffers are read. Other files are read from their start in every
    case, and again and again, since their number of rows is not known: there is only one epoch, which never ends.

    Args:
        rows: the training rows.
        buffer_size: number of rows of a buffer, including bad rows.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        first: number of the first buffer to yield, from 0.
    Raises:
        ValueError: if a file cannot be read.
    """
    if rows.row_groups:
        reader = RowGroupReader(rows)
        sizes = [group.num_rows for group in rows.row_groups]
        for pieces in itertools.islice(divide_into_buffers(sizes, buffer_size, seed, epoch), first, None):
            yield check_rows(rows, itertools.chain.from_iterable(map(reader.read, pieces)))
    else:
        assert epoch == 0
        for number, chunks in enumerate(fill_buffers(_read_in_order(rows), buffer_size)):
            if number >= first:
                yield check_rows(rows, chunks)


class RowGroupReader:
    """Reads pieces of row groups. A row group stays open until its last piece has been read.

    Args:
        rows: the training rows.
    """

    def __init__(self, rows: StreamedRows) -> None:
        self._rows = rows
        self._open: dict[int, _OpenRowGroup] = {}

    def read(self, piece: Piece) -> Iterator[Chunk]:
        """Yield the rows of a piece. The pieces of a row group must be read in order; the first ones may be omitted."""
        group = self._rows.row_groups[piece.row_group]
        table = self._rows.tables[group.table]
        assert isinstance(table, ParquetTable)
        with convert_read_errors(table.name):
            if piece.row_group not in self._open:
                batches = table.row_group_batches(group.index, self._rows.columns.names())
                self._open[piece.row_group] = _OpenRowGroup(batches, table.name)
            for first_row, batch in self._open[piece.row_group].read(piece.start, piece.stop):
                yield Chunk(group.table, group.first_row + first_row, batch)
        if piece.stop == group.num_rows:
            del self._open[piece.row_group]


class _OpenRowGroup:
    """A row group of which some rows have been read.

    Args:
        batches: all rows of the row group.
        name: name of the file in messages.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch], name: str) -> None:
        self._batches, self._name = batches, name
        self._rest: pa.RecordBatch | None = None
        self._position = 0  # of the first row in `_rest` or, without it, in the next batch

    def read(self, start: int, stop: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the rows from `start` to `stop` in batches, each with the number of rows before it."""
        while self._position < stop:
            batch = next(self._batches, None) if self._rest is None else self._rest
            if batch is None:
                raise ValueError(
                    f"{self._name} has fewer rows than when the run started. Restore the file, and resume."
                )
            first, last = max(start - self._position, 0), min(stop - self._position, batch.num_rows)
            self._rest = batch.slice(last) if last < batch.num_rows else None
            position, self._position = self._position, self._position + last
            if first < last:
                yield position + first, batch.slice(first, last - first)


def _read_in_order(rows: StreamedRows) -> Iterator[Chunk]:
    """Yield all rows again and again."""
    while True:
        for number, table in enumerate(rows.tables):
            first_row = 0
            with convert_read_errors(table.name):
                for batch in table.batches(rows.columns.names()):
                    yield Chunk(number, first_row, batch)
                    first_row += batch.num_rows
            if not first_row:
                raise ValueError(f"{table.name} has no rows for train.")
