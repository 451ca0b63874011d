"""Readers of csv, tsv and jsonl files that can say what is wrong with which row."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from research.data.tables import Report, Table, check_columns, check_file

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
INVALID_UTF8 = "invalid UTF-8"


class _Lines:
    """The lines of a file as text; remembers whether one of them was not UTF-8."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.line = 0
        self.invalid = False

    def __iter__(self) -> Iterator[str]:
        with self._path.open("rb") as file:
            for raw in file:
                self.line += 1
                content = raw.removeprefix(_BYTE_ORDER_MARK) if self.line == 1 else raw
                try:
                    yield content.decode("utf-8")
                except UnicodeDecodeError:
                    self.invalid = True
                    yield content.decode("utf-8", "replace")

    def take_invalid(self) -> bool:
        """Return whether a line since the last call was not UTF-8."""
        invalid, self.invalid = self.invalid, False
        return invalid


class DelimitedTable(Table):
    """A file with a header whose records are fields."""

    typed = False

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(name)
        self.path = path

    def records(self, lines: _Lines) -> Iterator[tuple[int, list[str] | str]]:
        """Yield each record's first line number and its fields, or what is wrong with it."""
        raise NotImplementedError

    def columns(self) -> list[str]:
        check_file(self.path, self.name)
        lines = _Lines(self.path)
        header = next((fields for _, fields in self.records(lines)), [])
        if isinstance(header, str):
            raise ValueError(f"The header of {self.name} cannot be read: {header}.")
        if lines.take_invalid():
            raise ValueError(f"The header of {self.name} is not UTF-8; save the file as UTF-8.")
        columns = [column.strip() for column in header]
        check_columns(columns, self.name)
        return columns

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        header = self.columns()
        wanted = [header.index(column) for column in columns]
        lines = _Lines(self.path)
        for row, (line, fields) in enumerate(itertools.islice(self.records(lines), 1, None), 1):
            invalid = lines.take_invalid()
            if isinstance(fields, str):
                report(row, line, fields)
            elif invalid:
                report(row, line, INVALID_UTF8)
            elif len(fields) != len(header):
                report(row, line, f"{len(fields)} fields, expected {len(header)}")
            else:
                yield row, line, [fields[index] for index in wanted]


class CsvTable(DelimitedTable):
    """Comma-separated values; quoted fields may hold commas, doubled quotes and line breaks."""

    def records(self, lines: _Lines) -> Iterator[tuple[int, list[str] | str]]:
        # strict: without it, a quote that is never closed silently swallows all rows that follow.
        reader = csv.reader(iter(lines), strict=True)
        while True:
            line = lines.line + 1
            fields: list[str] | str
            # The csv module refuses fields over 128 KiB, for the whole process; a text may be longer.
            limit = csv.field_size_limit(sys.maxsize)
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fields = f"broken csv ({error})"
            finally:
                csv.field_size_limit(limit)
            if fields:
                yield line, fields


class TsvTable(DelimitedTable):
    """Tab-separated values; quotes are ordinary characters, and a record is a line."""

    def records(self, lines: _Lines) -> Iterator[tuple[int, list[str] | str]]:
        for content in lines:
            record = content.rstrip("\r\n")
            if record:
                yield lines.line, record.split("\t")


class JsonLinesTable(Table):
    """One JSON object per line."""

    _NUM_PROBED = 100

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(name)
        self.path = path

    def _probe(self) -> dict[str, bool]:
        """Return the columns of the first rows, and whether one of them has a string there."""
        check_file(self.path, self.name)
        columns: dict[str, bool] = {}
        objects = (parsed for _, parsed in self._objects() if isinstance(parsed, dict))
        for parsed in itertools.islice(objects, self._NUM_PROBED):
            for name, value in parsed.items():
                columns[name] = columns.get(name, False) or isinstance(value, str)
        if not columns:
            raise ValueError(f"{self.name} has no JSON objects; expected one per line.")
        return columns

    def columns(self) -> list[str]:
        return list(self._probe())

    def string_columns(self) -> list[str]:
        return [name for name, has_string in self._probe().items() if has_string]

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        for row, (line, parsed) in enumerate(self._objects(), 1):  # blank lines are no rows
            if isinstance(parsed, str):
                report(row, line, parsed)
            else:
                yield row, line, [parsed.get(column) for column in columns]

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield each line's number and object, or what is wrong with it."""
        lines = _Lines(self.path)
        for content in lines:
            if content.isspace():
                continue
            if lines.take_invalid():
                yield lines.line, INVALID_UTF8
                continue
            try:
                parsed = json.loads(content, object_pairs_hook=_object_without_repeats)
            except (ValueError, RecursionError) as error:
                yield lines.line, f"invalid JSON ({error})"
                continue
            yield lines.line, parsed if isinstance(parsed, dict) else "not a JSON object"


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"more than one value for {next(name for name in names if names.count(name) > 1)!r}")
    return parsed
