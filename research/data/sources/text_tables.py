"""Read csv and tsv files, and report what is wrong with each bad row."""

from __future__ import annotations

import csv
import functools
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from research.data.sources.bad_rows import BadRowsError
from research.data.sources.base import FileSource, register_data
from research.data.sources.column_names import COMMON_NAMES
from research.data.sources.compression import check_text
from research.data.sources.lines import Lines
from research.data.sources.tables import Report, Table, check_columns
from research.data.sources.text_format import TextFormat
from research.tasks.numbers import MAX_WHOLE_CLASSES, NUMBER

_SEPARATORS = (",", ";", "|")
"""Possible separators of csv files. The one that gives the header the most columns is used."""
_R_ADVICE = 'In R, write the file with write.table(qmethod = "double", row.names = FALSE).'
_LABEL_SEPARATOR = re.compile(r"[,;|/]")
"""Possible separators of several labels in one field."""
_MAX_KNOWN_VALUES = 100_000
"""Number of values of a column that are kept for comparison."""
_MAX_KNOWN_LENGTH = 200
"""Longest value that is kept for comparison, in characters."""
_MAX_EXTRA_LENGTH = 8
"""Characters per column by which a repeated header may exceed the header: spaces, quotes, a byte order mark."""
_FIELD = r'(?:"(?:[^"]|"")*"|[^"\t\r\n]*)'
_QUOTED_RECORD = re.compile(rf"{_FIELD}(?:\t{_FIELD})*\r?\n?")
"""A record of a tsv file whose quotes all enclose fields, or are doubled inside quoted fields."""
_DOUBLED_WITHIN = re.compile(r'(?:^|\t)"(?:[^"\t]|"")*[^"\t]""(?:[^"\t]|"")*"(?:\t|\r?\n?$)')
"""A quoted field with doubled quotes inside. Texts whose quotes are ordinary characters hardly ever look like this."""
_MIN_QUOTED_FRACTION = 0.05
"""Smallest fraction of the lines with quotes that must have such a field; fewer may look like this by chance."""
_QUOTED_AFTER_SPACE = re.compile(r'\s+".*"\s*', re.DOTALL)


class DelimitedTable(Table):
    """A file of records whose fields are separated by a character, usually with a header.

    Args:
        path: the file.
        name: its name in messages.
        text_format: how the file is read.
    """

    typed = False

    def __init__(self, path: Path, name: str, text_format: TextFormat | None = None) -> None:
        super().__init__(name)
        self.path = path
        self._format = text_format or TextFormat()
        self._known: dict[int, frozenset[str]] = {}
        self._known_names: dict[int, set[str]] = {}

    @property
    def separator(self) -> str:
        """The character between two fields."""
        raise NotImplementedError

    @property
    def is_quoted(self) -> bool:
        """Whether quotes enclose fields."""
        raise NotImplementedError

    def columns(self) -> list[str]:
        check_text(self.path, self.name)
        lines = self._lines()
        _, first = next(self._records(lines), (1, []))
        if isinstance(first, str):
            raise ValueError(f"The header of {self.name} cannot be read: {first}.")
        if lines.take_undecoded():
            raise ValueError(f"The header of {self.name} has {self._format.undecoded}.")
        is_header_quoted = all(len(field) > 1 and field[0] == field[-1] == '"' for field in first)
        if first and is_header_quoted and not self.is_quoted and self._format.quoting == "auto":
            raise ValueError(
                f"The header of {self.name} is quoted, but some quotes below it do not enclose fields. {_R_ADVICE}"
            )
        columns = [column.strip() for column in self._format.columns or first]
        if len(columns) != len(first):
            raise ValueError(
                f"The first line of {self.name} has {len(first)} columns; --columns has {len(columns)}: "
                f"{', '.join(columns)}. Name each column."
            )
        check_columns(columns, self.name)
        return columns

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        header = self.columns()
        wanted = [header.index(column) for column in columns]
        lines = self._lines()
        first = 0 if self._format.columns else 1
        for row, (line, fields) in enumerate(itertools.islice(self._records(lines), first, None), 1):
            undecoded = lines.take_undecoded()
            if isinstance(fields, str):
                report(row, line, fields)
            elif undecoded:
                report(row, line, self._format.undecoded)
            elif len(fields) != len(header):
                report(row, line, f"{len(fields)} fields, expected {len(header)}")
            elif reason := self._explain_unusable(fields, header, wanted, lines.latest):
                report(row, line, reason)
            else:
                if lines.line > line:
                    self._check_swallowed_rows(fields, wanted[-1], line, lines.line)
                yield row, line, [fields[index] for index in wanted]

    def _lines(self) -> Lines:
        return Lines(self.path, self._format.encoding)

    def _records(self, lines: Lines) -> Iterator[tuple[int, list[str] | str]]:
        """Yield for each record the number of its first line, and its fields or the reason why it cannot be read.

        Raises:
            BadRowsError: if a quote swallows the lines after it.
        """
        if not self.is_quoted:
            for content in lines:
                if record := content.rstrip("\r\n"):
                    yield lines.line, record.split(self.separator)
            return
        # strict: otherwise, a quote that is never closed silently swallows all following rows.
        reader = csv.reader(iter(lines), strict=True, delimiter=self.separator)
        while True:
            line = lines.line + 1
            fields: list[str] | str
            # The csv module rejects fields over 128 KiB, and its limit is global; a text may be longer.
            limit = csv.field_size_limit(sys.maxsize)
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fields = f"invalid csv ({error})"
                if '\\"' in lines.latest:
                    fields += f"; quotes escaped by a backslash are not supported. {_R_ADVICE}"
                if lines.line > line:
                    raise BadRowsError(
                        f"{self.name}, lines {line:,} to {lines.line:,}: a quote in line {line:,} encloses all of "
                        f"these lines ({error}). They cannot be skipped because they contain other rows. Close the "
                        "quote, double the quotes within the field, or set --quoting none if quotes are ordinary "
                        "characters."
                    ) from None
            finally:
                csv.field_size_limit(limit)
            if fields:
                yield line, fields

    def _explain_unusable(
        self, fields: Sequence[str], header: Sequence[str], wanted: Sequence[int], last_line: str
    ) -> str | None:
        """Return why a record cannot be used as a row, or None if it can.

        Args:
            fields: fields of the record.
            header: column names.
            wanted: indices of the fields that are read.
            last_line: the last line of the record, as in the file.
        """
        if self._format.columns:
            read = [fields[index] for index in wanted]
            if _is_header(fields, header) or all(_normalize_name(field) in COMMON_NAMES for field in read):
                return "holds the column names; if it is the header, omit --columns"
        elif _is_header(fields, header) or _repeats_names(fields, header, wanted):
            return "repeats the header, as in a file concatenated from several"
        if not self.is_quoted:
            return None
        for index in wanted:
            if _QUOTED_AFTER_SPACE.fullmatch(fields[index]) and _quote(fields[index]).split("\n")[-1] not in last_line:
                return f"column '{header[index]}' has a space before its quotes, so they are read as text"
        return None

    def _check_swallowed_rows(self, fields: Sequence[str], label: int, first: int, last: int) -> None:
        """Check that no field of a record of several lines contains what looks like other rows.

        Args:
            fields: fields of the record.
            label: index of the label's field.
            first: number of the record's first line.
            last: number of the record's last line.
        Raises:
            BadRowsError: if a field contains what looks like other rows.
        """
        if any(
            "\n" in field and self._holds_records(field, index, len(fields), label)
            for index, field in enumerate(fields)
        ):
            raise BadRowsError(
                f"{self.name}, lines {first:,} to {last:,}: a quoted field spans these lines and contains what looks "
                "like other rows. They cannot be skipped. Close the quote at the end of its text or, if the field is "
                "correct, store the rows as .jsonl or .parquet."
            )

    def _holds_records(self, field: str, index: int, num_fields: int, label: int) -> bool:
        """Return whether a line of a field is a record whose label fits the label column.

        The first line lacks the columns before the field, the last line those after it. If the field is in the label's
        column (or in the last text column, if there are no labels), a line is also a record if the values of all other
        columns fit theirs.
        """
        other_columns = [column for column in range(num_fields) if column != index]
        lines = field.split("\n")
        for number, line in enumerate(lines):
            try:
                fields = next(csv.reader([line], strict=True, delimiter=self.separator), [])
            except csv.Error:
                continue
            if number == 0:
                fields = [""] * index + fields
            elif number == len(lines) - 1:
                fields += [""] * (num_fields - index - 1)
            if len(fields) != num_fields:
                continue
            if self._fits(label, fields[label]) or (
                label == index and other_columns and all(self._fits(column, fields[column]) for column in other_columns)
            ):
                return True
        return False

    def _fits(self, index: int, value: str) -> bool:
        """Return whether a value occurs in a column, or is a number in a column of many numbers (scores or ids)."""
        value = value.strip()
        known = self._known_values(index)
        if value in known or not NUMBER.fullmatch(value):
            return value in known or self._consists_of_known_names(index, value)
        return len(known) > MAX_WHOLE_CLASSES and all(map(NUMBER.fullmatch, known))

    def _consists_of_known_names(self, index: int, value: str) -> bool:
        """Return whether a value consists of several names, all of which occur in other rows of the column."""
        names = _LABEL_SEPARATOR.split(value)
        if index not in self._known_names:
            fields = self._known_values(index)
            self._known_names[index] = {name.strip() for field in fields for name in _LABEL_SEPARATOR.split(field)}
        return len(names) > 1 and all(name.strip() in self._known_names[index] for name in names)

    def _known_values(self, index: int) -> frozenset[str]:
        """Return the values of a column in all rows that take one line.

        The first rows are not enough: a file may be sorted by its labels.
        """
        if index not in self._known:
            self._known[index] = self._read_values(index)
        return self._known[index]

    def _read_values(self, index: int) -> frozenset[str]:
        lines = self._lines()
        known: set[str] = set()
        for line, fields in itertools.islice(self._records(lines), 1, None):
            if line == lines.line and not isinstance(fields, str) and index < len(fields):
                if len(fields[index]) <= _MAX_KNOWN_LENGTH and (value := fields[index].strip()):
                    known.add(value)
                if len(known) >= _MAX_KNOWN_VALUES:
                    break
        return frozenset(known)


def _is_header(fields: Sequence[str], header: Sequence[str]) -> bool:
    """Return whether a record holds the column names, in any order or case."""
    if sum(map(len, fields)) > sum(map(len, header)) + _MAX_EXTRA_LENGTH * len(header):
        return False  # rules out most rows without comparing their texts
    return sorted(map(_normalize_name, fields)) == sorted(map(_normalize_name, header))


def _quote(field: str) -> str:
    """Return a field enclosed in quotes, with the quotes inside doubled."""
    return '"' + field.replace('"', '""') + '"'


def _repeats_names(fields: Sequence[str], header: Sequence[str], wanted: Sequence[int]) -> bool:
    """Return whether the wanted fields of a record (text and label) all equal their column names.

    The other columns may be named differently in the repeated header.
    """
    return len(wanted) > 1 and all(
        len(fields[index]) <= len(header[index]) + _MAX_EXTRA_LENGTH
        and _normalize_name(fields[index]) == _normalize_name(header[index])
        for index in reversed(wanted)
    )


def _normalize_name(field: str) -> str:
    """Return a column name in lower case, without surrounding spaces, quotes and byte order mark."""
    return field.strip().removeprefix("\ufeff").strip('"').casefold()


class CsvTable(DelimitedTable):
    """A csv file: fields are separated by commas, semicolons or bars.

    Quoted fields may contain separators, doubled quotes and line breaks.
    """

    @property
    def is_quoted(self) -> bool:
        return self._format.quoting != "none"

    @functools.cached_property
    def separator(self) -> str:
        first = next(iter(self._lines()), "")
        try:
            return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([first], delimiter=separator), [])))
        except csv.Error:  # an unreadable header is reported when it is read
            return _SEPARATORS[0]

    def notes(self) -> list[str]:
        if self.separator == ",":
            return []
        return [f"The columns of {self.name} are separated by '{self.separator}'."]


class TsvTable(DelimitedTable):
    """A tsv file: fields are separated by tabs. The whole file is examined to decide whether quotes enclose fields."""

    separator = "\t"

    @functools.cached_property
    def is_quoted(self) -> bool:
        if self._format.quoting != "auto":
            return self._format.quoting == "csv"
        return self._quotes[0]

    def notes(self) -> list[str]:
        if self._format.quoting != "auto" or self._quotes[1] == 0:
            return []
        is_quoted, num_lines = self._quotes
        meaning = "enclosing fields" if is_quoted else "ordinary characters"
        return [f"Quotes in {self.name} ({num_lines:,} lines) are read as {meaning} (--quoting)."]

    @functools.cached_property
    def _quotes(self) -> tuple[bool, int]:
        """Whether quotes enclose fields, and how many lines have quotes.

        Quotes enclose fields if every record of the file is well-formed with quoted fields, and there is evidence that
        a program quoted them: a field contains a quote, tab or line break, or all records have quoted fields.

        Raises:
            ValueError: if a program seems to have quoted the fields, but some lines do not follow this form.
        """
        num_with_quotes = sum('"' in content for content in self._lines())
        if not num_with_quotes:
            return False, 0
        lines = self._lines()
        raw: list[str] = []  # the lines of the current record

        def recorded() -> Iterator[str]:
            for content in lines:
                raw.append(content)
                yield content

        num_records = num_quoted = num_fields = 0
        needs_quotes = False
        limit = csv.field_size_limit(sys.maxsize)
        try:
            for fields in csv.reader(recorded(), strict=True, delimiter="\t"):
                record, line = "".join(raw), lines.line - len(raw) + 1
                raw.clear()
                num_fields = num_fields or len(fields)
                if not fields:
                    continue
                if len(fields) != num_fields or not _QUOTED_RECORD.fullmatch(record):
                    break
                num_records += 1
                num_quoted += '"' in record
                needs_quotes |= any(character in field for field in fields for character in '"\t\n')
            else:
                return needs_quotes or num_quoted == num_records, num_with_quotes
        except csv.Error:  # a quote in an impossible place
            line = lines.line - len(raw) + 1
        finally:
            csv.field_size_limit(limit)
        self._refuse_mixed_quotes(num_with_quotes, line)
        return False, num_with_quotes

    def _refuse_mixed_quotes(self, num_with_quotes: int, line: int) -> None:
        """Raise an error if quotes mostly enclose fields. The lines that differ may have been added by hand.

        Args:
            num_with_quotes: number of lines that have quotes.
            line: number of the first line whose quotes do not enclose fields.
        Raises:
            ValueError: if enough lines have quoted fields with doubled quotes inside.
        """
        num_doubled = sum(_DOUBLED_WITHIN.search(content) is not None for content in self._lines())
        if num_doubled < 2 or num_doubled < _MIN_QUOTED_FRACTION * num_with_quotes:
            return
        raise ValueError(
            f"It is unclear whether quotes in {self.name} enclose fields: {num_doubled:,} lines have quoted fields "
            f"with doubled quotes inside, but line {line:,} does not follow this form. Correct that line, or set "
            "--quoting csv or --quoting none."
        )


@register_data("csv")
class CsvSource(FileSource):
    """Csv files with a header; fields are separated by commas, semicolons or bars."""

    suffixes = (".csv",)
    format_settings = ("columns", "quoting", "encoding")

    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        return CsvTable(path, name, text_format)


@register_data("tsv")
class TsvSource(FileSource):
    """Tsv files with a header; fields are separated by tabs."""

    suffixes = (".tsv",)
    format_settings = ("columns", "quoting", "encoding")

    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        return TsvTable(path, name, text_format)
