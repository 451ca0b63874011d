"""Formats of files with predictions: how a chunk of rows is written, and how chunks are joined."""

from __future__ import annotations

import csv
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from research.system.json_values import as_json

Columns = Mapping[str, Sequence[Any] | pa.Array]
"""Values by the name of the column: a list for a column of the input, an Arrow array for a predicted column."""
_CONVERSION_ERRORS = (pa.ArrowException, OverflowError, TypeError)
"""Errors that Arrow raises for values of several types, or too large integers."""
_MIXED = {b"mixed": b"true"}
"""Metadata of a column in a part whose values have several types, and are stored as JSON text."""
_COPY_BYTES = 2**20
"""Number of bytes that are copied at a time."""


class OutputFormat(ABC):
    """A file type for predictions. A part holds one chunk of rows."""

    suffix: ClassVar[str]

    @abstractmethod
    def write_part(self, columns: Columns, path: Path) -> None:
        """Write a chunk of rows to a file."""

    @abstractmethod
    def join(self, parts: Sequence[Path], names: Sequence[str], path: Path) -> list[str]:
        """Join the parts to one file, and return messages to log.

        Args:
            parts: at least one part, in order.
            names: names of the columns.
            path: file to write.
        """


class CsvOutput(OutputFormat):
    """Csv with a header. Lists and other values without a form in csv are written as JSON, missing values as empty."""

    suffix = ".csv"

    def write_part(self, columns: Columns, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = zip(*map(_as_list, columns.values()), strict=True)
            csv.writer(file, lineterminator="\n").writerows(map(_as_text, row) for row in rows)

    def join(self, parts: Sequence[Path], names: Sequence[str], path: Path) -> list[str]:
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(names)
        _append(parts, path)
        return []


class JsonLinesOutput(OutputFormat):
    """One JSON object per line. Values without a form in JSON, such as dates, are written as strings."""

    suffix = ".jsonl"

    def write_part(self, columns: Columns, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for row in zip(*map(_as_list, columns.values()), strict=True):
                file.write(as_json_text(dict(zip(columns, row, strict=True))) + "\n")

    def join(self, parts: Sequence[Path], names: Sequence[str], path: Path) -> list[str]:
        _append(parts, path)
        return []


class ParquetOutput(OutputFormat):
    """Parquet. The type of a column is that of its values; if they have several types, they are written as JSON."""

    suffix = ".parquet"

    def write_part(self, columns: Columns, path: Path) -> None:
        arrays, fields = [], []
        for name, values in columns.items():
            try:
                arrays.append(values if isinstance(values, pa.Array) else pa.array(values))
                fields.append(pa.field(name, arrays[-1].type))
            except _CONVERSION_ERRORS:
                arrays.append(pa.array(map(_as_text, values), pa.string()))
                fields.append(pa.field(name, pa.string(), metadata=_MIXED))
        pq.write_table(pa.table(arrays, schema=pa.schema(fields)), path)

    def join(self, parts: Sequence[Path], names: Sequence[str], path: Path) -> list[str]:
        schemas = [pq.read_schema(part) for part in parts]
        kinds = {name: _unify([schema.field(name) for schema in schemas]) for name in names}
        schema = pa.schema([(name, kind or pa.string()) for name, kind in kinds.items()])
        with pq.ParquetWriter(path, schema) as writer:
            for part in parts:
                table = pq.read_table(part)
                arrays = [_convert(table.column(name), kind) for name, kind in kinds.items()]
                writer.write_table(pa.table(arrays, schema=schema))
        return [
            f"The values of the column '{name}' have several types; they are written as JSON text."
            for name, kind in kinds.items()
            if kind is None
        ]


OUTPUT_FORMATS: dict[str, OutputFormat] = {
    output_format.suffix: output_format for output_format in (ParquetOutput(), CsvOutput(), JsonLinesOutput())
}
"""Formats by extension."""


def _as_list(values: Sequence[Any] | pa.Array) -> Sequence[Any]:
    return values.to_pylist() if isinstance(values, pa.Array) else values


def _as_text(value: Any) -> str | None:
    """Return a string as it is, a missing value as None, and any other value as JSON."""
    return value if value is None or isinstance(value, str) else as_json_text(value)


def as_json_text(value: Any) -> str:
    """Return a value as JSON text."""
    return json.dumps(as_json(value), ensure_ascii=False, allow_nan=False, default=str)


def _unify(fields: Sequence[pa.Field]) -> pa.DataType | None:
    """Return a type for the values of one column in all parts; None if they have several types."""
    if any(_MIXED.items() <= (field.metadata or {}).items() for field in fields):
        return None
    try:
        schemas = [pa.schema([("", kind)]) for kind in dict.fromkeys(field.type for field in fields)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except _CONVERSION_ERRORS:
        return None


def _convert(column: pa.ChunkedArray, kind: pa.DataType | None) -> pa.ChunkedArray | pa.Array:
    """Convert the values of a column in one part to the type of the column in all parts; None stands for JSON text."""
    return pa.array(map(_as_text, column.to_pylist()), pa.string()) if kind is None else column.cast(kind)


def _append(parts: Sequence[Path], path: Path) -> None:
    with path.open("ab") as file:
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, file, _COPY_BYTES)
