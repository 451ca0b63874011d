"""Readers of csv and tsv files that can say what is wrong with which row."""

from __future__ import annotations

import csv
import functools
import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from research.data.sources.bad_rows import OTHER_ENCODING, BadRowsError
from research.data.sources.column_names import COMMON_NAMES
from research.data.sources.compression import check_text
from research.data.sources.lines import Lines
from research.data.sources.tables import Report, Table, check_columns
from research.tasks.numbers import MAX_WHOLE_CLASSES, NUMBER

Quoting = Literal["auto", "csv", "none"]
_SEPARATORS = (",", ";", "|")
"""Of csv files, by the number of columns that the header has with each."""
_AS_R_WRITES = 'In R, write the file with write.table(qmethod = "double", row.names = FALSE).'
_BETWEEN_NAMES = re.compile(r"[,;|/]")
"""What may separate several labels in one field."""
_MOST_KNOWN = 100_000
"""Values of a column that are remembered, each of at most as many characters as the next constant says."""
_LONGEST_KNOWN = 200
_LONGEST_ADDITION = 8
"""Characters by which a header may be longer per column in another place: spaces, quotes, a byte order mark."""
_FIELD = r'(?:"(?:[^"]|"")*"|[^"\t\r\n]*)'
_QUOTED_RECORD = re.compile(rf"{_FIELD}(?:\t{_FIELD})*\r?\n?")
"""A record of a tsv file in which quotes enclose fields, and are nowhere else."""
_DOUBLED_WITHIN = re.compile(r'(?:^|\t)"(?:[^"\t]|"")*[^"\t]""(?:[^"\t]|"")*"(?:\t|\r?\n?$)')
"""A quoted field with doubled quotes inside: hardly ever a text whose quotes are ordinary characters."""
_FEW = 0.05
"""Share of the lines with quotes that may be of the other kind by chance."""
_QUOTED_AFTER_SPACE = re.compile(r'\s+".*"\s*', re.DOTALL)


@dataclass(frozen=True)
class TextFormat:
    """How text files are read."""

    encoding: str | None = None
    """Their encoding; None is UTF-8, or UTF-16 with a byte order mark."""
    quoting: Quoting = "auto"
    """Whether quotes in csv and tsv files enclose fields, or are ordinary characters."""
    columns: tuple[str, ...] = ()
    """Names of the columns of csv and tsv files without a header."""

    @property
    def undecoded(self) -> str:
        """What is wrong with a row that has bytes which are not of the encoding."""
        return OTHER_ENCODING if self.encoding is None else f"bytes that are not {self.encoding}"


class DelimitedTable(Table):
    """A file of records whose fields are separated by a character, usually under a header."""

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
                f"The header of {self.name} is quoted, but not all quotes after it enclose fields. {_AS_R_WRITES}"
            )
        columns = [column.strip() for column in self._format.columns or first]
        if len(columns) != len(first):
            raise ValueError(
                f"Expected as many --columns as {self.name} has in its first line, {len(first)}; got {len(columns)}: "
                f"{', '.join(columns)}."
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
            elif reason := self._why_impossible(fields, header, wanted, lines.latest):
                report(row, line, reason)
            else:
                if lines.line > line:
                    self._refuse_swallowed(fields, wanted[-1], line, lines.line)
                yield row, line, [fields[index] for index in wanted]

    def _lines(self) -> Lines:
        return Lines(self.path, self._format.encoding)

    def _records(self, lines: Lines) -> Iterator[tuple[int, list[str] | str]]:
        """Yield each record's first line number and its fields, or what is wrong with it.

        Raises:
            BadRowsError: at a quote that swallows the lines after it.
        """
        if not self.is_quoted:
            for content in lines:
                if record := content.rstrip("\r\n"):
                    yield lines.line, record.split(self.separator)
            return
        # strict: without it, a quote that is never closed silently swallows all rows that follow.
        reader = csv.reader(iter(lines), strict=True, delimiter=self.separator)
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
                if '\\"' in lines.latest:
                    fields += f"; quotes after a backslash are not read. {_AS_R_WRITES}"
                if lines.line > line:
                    raise BadRowsError(
                        f"{self.name}, lines {line:,} to {lines.line:,}: a quote in line {line:,} encloses all of "
                        f"these lines, and {error}. They cannot be left out, since other rows are among them. Close "
                        "the quote, double quotes within a field, or set --quoting none if quotes are text."
                    ) from None
            finally:
                csv.field_size_limit(limit)
            if fields:
                yield line, fields

    def _why_impossible(
        self, fields: Sequence[str], header: Sequence[str], wanted: Sequence[int], last_line: str
    ) -> str | None:
        """Return why a record cannot be a row, or None.

        Args:
            fields: of the record.
            header: names of the columns.
            wanted: numbers of the fields that are read.
            last_line: the last line of the record, as it is in the file.
        """
        if self._format.columns:
            read = [fields[index] for index in wanted]
            if _is_header(fields, header) or all(_as_column_name(field) in COMMON_NAMES for field in read):
                return "holds the names of the columns; if it is the header, leave out --columns"
        elif _is_header(fields, header) or _repeats_names(fields, header, wanted):
            return "repeats the header; was the file put together from several"
        if not self.is_quoted:
            return None
        for index in wanted:
            if _QUOTED_AFTER_SPACE.fullmatch(fields[index]) and _quoted(fields[index]).split("\n")[-1] not in last_line:
                return f"a space before the quote of column '{header[index]}', so that the quotes count as text"
        return None

    def _refuse_swallowed(self, fields: Sequence[str], label: int, first: int, last: int) -> None:
        """Refuse a record of several lines if one of its fields holds what looks like other rows.

        Args:
            fields: of the record.
            label: number of the label's field.
            first: number of its first line.
            last: number of its last line.
        Raises:
            BadRowsError: naming the lines.
        """
        if any(
            "\n" in field and self._holds_records(field, index, len(fields), label)
            for index, field in enumerate(fields)
        ):
            raise BadRowsError(
                f"{self.name}, lines {first:,} to {last:,}: a quoted field makes one row of these lines, and holds "
                "what looks like other rows. They cannot be left out together. Close the quote where its text ends, or "
                "store the rows as .jsonl or .parquet if they are as they should be."
            )

    def _holds_records(self, field: str, index: int, num_fields: int, label: int) -> bool:
        """Return whether a line of a field is a record with a label that other rows could have.

        The first line lacks the columns before the field, the last one those after it. If the field is in the label's
        column, or there are no labels, the values of all other columns decide too.
        """
        others = [column for column in range(num_fields) if column != index]
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
                label == index and others and all(self._fits(column, fields[column]) for column in others)
            ):
                return True
        return False

    def _fits(self, index: int, value: str) -> bool:
        """Return whether a value is one of a column, or a number in a column of many numbers: scores, or ids."""
        value = value.strip()
        known = self._known_values(index)
        if value in known or not NUMBER.fullmatch(value):
            return value in known or self._is_made_of_known(index, value)
        return len(known) > MAX_WHOLE_CLASSES and all(map(NUMBER.fullmatch, known))

    def _is_made_of_known(self, index: int, value: str) -> bool:
        """Return whether a value is several names in one field, all of which other rows of the column have."""
        names = _BETWEEN_NAMES.split(value)
        if index not in self._known_names:
            fields = self._known_values(index)
            self._known_names[index] = {name.strip() for field in fields for name in _BETWEEN_NAMES.split(field)}
        return len(names) > 1 and all(name.strip() in self._known_names[index] for name in names)

    def _known_values(self, index: int) -> frozenset[str]:
        """Return the values of a column in all rows of one line: a file may be sorted by its labels."""
        if index not in self._known:
            self._known[index] = self._read_values(index)
        return self._known[index]

    def _read_values(self, index: int) -> frozenset[str]:
        lines = self._lines()
        known: set[str] = set()
        for line, fields in itertools.islice(self._records(lines), 1, None):
            if line == lines.line and not isinstance(fields, str) and index < len(fields):
                if len(fields[index]) <= _LONGEST_KNOWN and (value := fields[index].strip()):
                    known.add(value)
                if len(known) >= _MOST_KNOWN:
                    break
        return frozenset(known)


def _is_header(fields: Sequence[str], header: Sequence[str]) -> bool:
    """Return whether a record has the names of the columns, in any order or case."""
    if sum(map(len, fields)) > sum(map(len, header)) + _LONGEST_ADDITION * len(header):
        return False  # most rows, without a look at their texts
    return sorted(map(_as_column_name, fields)) == sorted(map(_as_column_name, header))


def _quoted(field: str) -> str:
    """Return a field as a program writes it between quotes."""
    return '"' + field.replace('"', '""') + '"'


def _repeats_names(fields: Sequence[str], header: Sequence[str], wanted: Sequence[int]) -> bool:
    """Return whether text and label of a record are the names of their columns; others may have names of their own."""
    return len(wanted) > 1 and all(
        len(fields[index]) <= len(header[index]) + _LONGEST_ADDITION
        and _as_column_name(fields[index]) == _as_column_name(header[index])
        for index in reversed(wanted)
    )


def _as_column_name(field: str) -> str:
    """Return a field of a header without spaces, and without the mark at the beginning of a file and its quotes."""
    return field.strip().removeprefix("\ufeff").strip('"').casefold()


class CsvTable(DelimitedTable):
    """Fields between commas (or semicolons, or bars); quoted ones may hold separators, doubled quotes, line breaks."""

    @property
    def is_quoted(self) -> bool:
        return self._format.quoting != "none"

    @functools.cached_property
    def separator(self) -> str:
        first = next(iter(self._lines()), "")
        try:
            return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([first], delimiter=separator), [])))
        except csv.Error:  # a header that no separator makes readable is reported when it is read
            return _SEPARATORS[0]

    def notes(self) -> list[str]:
        if self.separator == ",":
            return []
        return [f"The columns of {self.name} are separated by '{self.separator}'."]


class TsvTable(DelimitedTable):
    """Fields between tabs; whether quotes enclose fields is decided by the whole file."""

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
        how = "enclose fields" if is_quoted else "are ordinary characters"
        return [f"Quotes in {self.name} ({num_lines:,} lines have some) {how} (--quoting)."]

    @functools.cached_property
    def _quotes(self) -> tuple[bool, int]:
        """Whether quotes enclose fields, and how many lines have quotes.

        They do if every field that begins with a quote is a whole quoted field, in all lines, and it shows that a
        program wrote them so: quotes within are doubled, a field holds a tab or a line break, or all texts are quoted.

        Raises:
            ValueError: if a program wrote most of them so, and others are not like that.
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
        except csv.Error:  # a quote at a place where none can be
            line = lines.line - len(raw) + 1
        finally:
            csv.field_size_limit(limit)
        self._refuse_mixed_quotes(num_with_quotes, line)
        return False, num_with_quotes

    def _refuse_mixed_quotes(self, num_with_quotes: int, line: int) -> None:
        """Refuse a file in which quotes enclose fields, but for a few that may have been added by hand.

        Args:
            num_with_quotes: lines that have quotes.
            line: number of the first line of which it is not true.
        Raises:
            ValueError: naming the line.
        """
        num_doubled = sum(_DOUBLED_WITHIN.search(content) is not None for content in self._lines())
        if num_doubled < 2 or num_doubled < _FEW * num_with_quotes:
            return
        raise ValueError(
            f"Whether quotes in {self.name} enclose fields is not clear: {num_doubled:,} lines have quoted fields with "
            f"doubled quotes inside, and the quotes of line {line:,} are not of that kind. Correct it, or set "
            "--quoting csv or --quoting none."
        )
