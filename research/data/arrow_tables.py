"""Readers of parquet files and of data sets that the `datasets` library has loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features

from research.data.bad_rows import INVALID_UTF8
from research.data.tables import Report, Table, check_columns, check_file

_READ_ROWS = 1000


class ArrowTable(Table):
    """Rows that come in Arrow batches."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """Return names and types of the columns."""

    @abstractmethod
    def features(self) -> Features:
        """Return the columns as the `datasets` library sees them."""

    @abstractmethod
    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of some columns, in this order."""

    def columns(self) -> list[str]:
        columns = list(self.schema().names)
        check_columns(columns, self.name)
        return columns

    def string_columns(self) -> list[str]:
        return [field.name for field in self.schema() if _holds_strings(field.type)]

    def label_names(self, column: str) -> tuple[str, ...] | None:
        feature = self.features().get(column)
        feature = getattr(feature, "feature", feature)  # of a list, what its elements are
        return tuple(feature.names) if isinstance(feature, ClassLabel) else None

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        names = [self.label_names(column) for column in columns]
        row = 0
        for batch in self.batches(list(columns)):
            values = [_read_values(column) for column in batch.columns]
            for record in zip(*values, strict=True):
                row += 1
                if any(isinstance(value, UnicodeDecodeError) for value in record):
                    report(row, 0, INVALID_UTF8)
                else:
                    yield row, 0, [_name_label(value, known) for value, known in zip(record, names, strict=True)]


class ParquetTable(ArrowTable):
    """A parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(name)
        self.path = path

    def _open(self) -> pq.ParquetFile:
        check_file(self.path, self.name)
        try:
            # Buffered: without it a whole row group's columns are held at once.
            return pq.ParquetFile(self.path, buffer_size=2**20, pre_buffer=False)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{self.name} is not a parquet file: {error}") from error

    def schema(self) -> pa.Schema:
        with self._open() as file:
            return file.schema_arrow

    def features(self) -> Features:
        return Features.from_arrow_schema(self.schema())

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        with self._open() as file:
            for batch in file.iter_batches(_READ_ROWS, columns=columns):
                yield batch.select(columns)


class LoadedTable(ArrowTable):
    """A split that `datasets.load_dataset` returned."""

    def __init__(self, dataset: Dataset, name: str) -> None:
        super().__init__(name)
        self.dataset = dataset

    def schema(self) -> pa.Schema:
        return self.dataset.features.arrow_schema

    def features(self) -> Features:
        return self.dataset.features

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for table in self.dataset.select_columns(columns).with_format("arrow").iter(_READ_ROWS):
            yield from table.select(columns).to_batches()


def _holds_strings(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _read_values(column: pa.Array) -> list[Any]:
    """Return the values, with the exception in the place of a string that is not UTF-8."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        values = [_read_value(scalar) for scalar in column]
    return values


def _read_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error


def _name_label(value: Any, names: tuple[str, ...] | None) -> Any:
    """Turn the ids of a ClassLabel into its names; -1 marks unlabelled rows, and an id without a name stays."""
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_name_label(element, names) for element in value]
    if value == -1:
        return None
    return names[value] if 0 <= value < len(names) else value
