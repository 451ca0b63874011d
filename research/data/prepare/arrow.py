"""Write rows to Arrow files and read them back, one small batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
from datasets import Dataset

# A batch is written as soon as it has this many rows or bytes. Batches must not be too small: datasets maps the file
# into memory and reads the header of every batch, and the kernel also maps the pages around each header. With batches
# of a few kilobytes, the whole file would become resident in memory.
BATCH_ROWS = 10_000
BATCH_BYTES = 2**20


class RowWriter:
    """Writer of an Arrow stream file that keeps at most about one batch of rows in memory.

    Args:
        path: the file.
        schema: names and types of its columns.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._file = pa.OSFile(str(path), "wb")
        self._stream = pa.ipc.new_stream(self._file, schema)
        self._columns: list[list[Any]] = [[] for _ in schema]
        self._batches: list[pa.RecordBatch] = []
        self._unwritten_bytes = 0
        self._unwritten_rows = 0

    def append(self, values: tuple[Any, ...], num_bytes: int) -> None:
        """Add one row, whose values take about `num_bytes` bytes."""
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        self._count_and_flush(1, num_bytes)

    def append_batch(self, batch: pa.RecordBatch) -> None:
        """Add a batch of rows."""
        self._gather_columns()
        self._batches.append(batch)
        self._count_and_flush(batch.num_rows, batch.nbytes)

    def _count_and_flush(self, num_rows: int, num_bytes: int) -> None:
        self._unwritten_rows += num_rows
        self._unwritten_bytes += num_bytes
        if self._unwritten_rows >= BATCH_ROWS or self._unwritten_bytes >= BATCH_BYTES:
            self._flush()

    def _gather_columns(self) -> None:
        """Turn the rows that were added one by one into a batch, so that all batches are in the order of addition."""
        if self._columns[0]:
            arrays = [pa.array(values, field.type) for values, field in zip(self._columns, self._schema, strict=True)]
            self._batches.append(pa.record_batch(arrays, schema=self._schema))
            self._columns = [[] for _ in self._schema]

    def _flush(self) -> None:
        """Write all rows that were added since the last call."""
        self._gather_columns()
        if self._unwritten_rows:
            for batch in pa.Table.from_batches(self._batches).combine_chunks().to_batches():
                self._stream.write_batch(batch)
        self._batches = []
        self._unwritten_rows = self._unwritten_bytes = 0

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._stream.close()
        self._file.close()


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an Arrow stream file.

    The file is read, not memory-mapped: all pages of a mapped file would stay in the process's resident memory.
    """
    with pa.OSFile(str(path), "rb") as file:
        yield from pa.ipc.open_stream(file)


def read_dataset(dataset: Dataset) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a data set in batches, in order. If the rows are a whole file, its own batches are read."""
    files = dataset.cache_files
    if len(files) == 1 and dataset._indices is None:  # no selection or order of rows
        yield from read_batches(Path(files[0]["filename"]))
        return
    for table in dataset.with_format("arrow").iter(BATCH_ROWS):
        yield from table.to_batches()


def hash_rows(parts: Sequence[Dataset], columns: Sequence[str] | None = None) -> str:
    """Return a hash of all values in the columns of several data sets, in order.

    Args:
        parts: data sets whose columns hold numbers or lists of numbers.
        columns: columns to hash; all by default.
    """
    digest = hashlib.sha256()
    for part in parts:
        names = part.column_names if columns is None else list(columns)
        digest.update(f"{names} {len(part)}\n".encode())
        for batch in read_dataset(part):
            for column in map(batch.column, names):
                is_list = pa.types.is_list(column.type)
                for numbers in (column.value_lengths(), column.flatten()) if is_list else (column,):
                    digest.update(numbers.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()
