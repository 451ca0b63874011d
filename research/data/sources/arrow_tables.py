"""Read parquet files, and data sets loaded by the `datasets` library."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features

from research.data.sources.bad_rows import INVALID_UTF8
from research.data.sources.base import FileSource, register_data
from research.data.sources.declared_names import MetadataError, read_declared_names
from research.data.sources.footers import Footer, hash_footer
from research.data.sources.reading import describe_briefly
from research.data.sources.tables import Report, Table, check_columns, check_file
from research.data.sources.text_format import TextFormat

_ROWS_PER_READ = 1000
"""Number of rows that are read at a time."""
_CONVERSION_ERRORS = (ValueError, OverflowError, KeyError, pa.ArrowException)
"""Errors that Arrow raises for strings that are not UTF-8, and for times that Python cannot represent."""


class ArrowTable(Table):
    """A table that is read as Arrow record batches."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """Return the names and types of the columns."""

    @abstractmethod
    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches with only the given columns, in the given order."""

    def columns(self) -> list[str]:
        columns = list(self.schema().names)
        check_columns(columns, self.name)
        return columns

    def string_columns(self) -> list[str]:
        return [field.name for field in self.schema() if _holds_strings(field.type)]

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        label_names = [self.label_names(column) for column in columns]
        num_rows = 0
        for batch in self.batches(list(columns)):
            yield from read_batch(batch, num_rows, label_names, report)
            num_rows += batch.num_rows


class ParquetTable(ArrowTable):
    """A parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(name)
        self.path = path

    def open_bytes(self) -> BinaryIO:
        """Open the file for reading bytes."""
        check_file(self.path, self.name)
        return self.path.open("rb")

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        check_file(self.path, self.name)
        with self._open_parquet(self.path) as file:
            yield file

    def _open_parquet(self, file: Path | BinaryIO, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
        try:
            # Without a buffer, the columns of a whole row group would be in memory at once.
            return pq.ParquetFile(
                file, metadata=metadata, buffer_size=2**20, pre_buffer=False, page_checksum_verification=True
            )
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.name} is not a parquet file, or is damaged: {describe_briefly(error)}.") from error

    def read_footer(self) -> Footer:
        """Return what the footer says about the rows, without reading them."""
        with self._open() as file:
            metadata = file.metadata
            num_rows = tuple(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
        with self.open_bytes() as content:
            return Footer(num_rows, hash_footer(content))

    def row_group_batches(self, row_group: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one row group in batches with only the given columns, in the given order."""
        with self._open() as file:
            for batch in file.iter_batches(_ROWS_PER_READ, row_groups=[row_group], columns=columns):
                yield batch.select(columns)

    def schema(self) -> pa.Schema:
        with self._open() as file:
            return file.schema_arrow

    def label_names(self, column: str) -> tuple[str, ...] | None:
        try:
            return read_declared_names(self.schema().metadata).get(column)
        except MetadataError:  # reported by `notes`
            return None

    def notes(self) -> list[str]:
        try:
            read_declared_names(self.schema().metadata)
        except MetadataError as error:
            return [
                f"Warning: The Hugging Face metadata of {self.name} cannot be read ({error}). Any label names in it "
                "are ignored, and the values in the rows are used as label names."
            ]
        return []

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        with self._open() as file:
            for batch in file.iter_batches(_ROWS_PER_READ, columns=columns):
                yield batch.select(columns)


@register_data("parquet")
class ParquetSource(FileSource):
    """Parquet files."""

    suffixes = (".parquet",)
    is_text = False

    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        return ParquetTable(path, name)


class LoadedTable(ArrowTable):
    """A split that the `datasets` library has loaded."""

    def __init__(self, dataset: Dataset, name: str) -> None:
        super().__init__(name)
        self.dataset = dataset

    def schema(self) -> pa.Schema:
        return self.dataset.features.arrow_schema

    def label_names(self, column: str) -> tuple[str, ...] | None:
        return names_in_features(self.dataset.features, column)

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for table in self.dataset.select_columns(columns).with_format("arrow").iter(_ROWS_PER_READ):
            yield from table.select(columns).to_batches()


def read_batch(
    batch: pa.RecordBatch, num_before: int, label_names: Sequence[tuple[str, ...] | None], report: Report
) -> Iterator[tuple[int, int, Sequence[Any]]]:
    """Yield the rows of a batch as `Table.rows` does.

    Args:
        batch: the batch.
        num_before: number of rows in the file before the batch.
        label_names: label names that the file declares for each column of the batch.
        report: called for each row that cannot be read.
    """
    values = [_read_values(column) for column in batch.columns]
    for row, record in enumerate(zip(*values, strict=True), start=num_before + 1):
        unreadable = next((value for value in record if isinstance(value, _Unreadable)), None)
        if unreadable is not None:
            report(row, 0, unreadable.reason)
        else:
            labelled = zip(record, label_names, strict=True)
            yield row, 0, [_to_label_name(value, names) for value, names in labelled]


def names_in_features(features: Features | None, column: str) -> tuple[str, ...] | None:
    """Return the label names that the `datasets` library has for a column; None if it has none."""
    feature = (features or {}).get(column)
    feature = getattr(feature, "feature", feature)  # for a list, the type of its elements
    return tuple(feature.names) if isinstance(feature, ClassLabel) else None


def _holds_strings(data_type: pa.DataType) -> bool:
    """Return whether values of an Arrow type are strings. Strings may be dictionary-encoded."""
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    string_checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_string(data_type) for is_string in string_checks)


@dataclass(frozen=True)
class _Unreadable:
    """Placeholder for a value that cannot be read."""

    reason: str
    """Why the value cannot be read."""


def _read_values(column: pa.Array) -> list[Any]:
    """Return the values of a column. If this fails, read them one by one, with placeholders for unreadable values."""
    try:
        values: list[Any] = column.to_pylist()
    except _CONVERSION_ERRORS:
        values = [_read_value(scalar) for scalar in column]
    return values


def _read_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return _Unreadable(INVALID_UTF8)
    except _CONVERSION_ERRORS as error:
        return _Unreadable(f"a value of type {scalar.type} that cannot be read ({describe_briefly(error)})")


def _to_label_name(value: Any, names: tuple[str, ...] | None) -> Any:
    """Return the label name for an id of a ClassLabel, and None for -1, which marks a missing label.

    A list is converted element by element. Ids without a name are returned unchanged.
    """
    if names is None or value is None:
        return value
    if isinstance(value, list):
        return [_to_label_name(element, names) for element in value]
    if isinstance(value, float) and value.is_integer():  # pandas stores ids as floats if one is missing
        value = int(value)
    if not isinstance(value, int):
        return value
    if value == -1:
        return None
    return names[value] if 0 <= value < len(names) else value
