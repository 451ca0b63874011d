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
from research.tasks.numbers import MAX_WHOLE_NUMBER_CLASSES, NUMBER

_SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars"}
"""Possible separators of csv files, and their names. The one that gives the header the most columns is used."""
_R_ADVICE = 'In R, write the file with write.table(qmethod = "double", row.names = FALSE).'
_LABEL_SEPARATOR = re.compile(r"[,;|/]")
"""Possible separators of several labels in one field."""
_MAX_KNOWN_VALUES = 100_000
"""Maximum number of distinct values of a column that are kept to recognise rows inside a quoted field."""
_MAX_KNOWN_LENGTH = 200
"""Maximum length in characters of a value that is kept for this purpose."""
_MAX_EXTRA_LENGTH = 8
"""Maximum number of extra characters per column in a repeated header: spaces, quotes, a byte order mark."""
_FIELD = r'(?:"(?:[^"]|"")*"|[^"\t\r\n]*)'  # in quotes, or without any quote
_QUOTED_RECORD = re.compile(rf"{_FIELD}(?:\t{_FIELD})*\r?\n?")
"""Matches a record of a tsv file if its quotes all enclose fields or are doubled inside quoted fields."""
_DOUBLED_WITHIN = re.compile(r'(?:^|\t)"(?:[^"\t]|"")*[^"\t]""(?:[^"\t]|"")*"(?:\t|\r?\n?$)')
"""Matches a quoted field with doubled quotes inside. It hardly ever matches quotes that are ordinary characters."""
_MIN_DOUBLED_SHARE = 0.05
"""Minimum share of the lines with quotes that must match _DOUBLED_WITHIN; a smaller share may match by chance."""
_QUOTED_AFTER_SPACE = re.compile(r'\s+".*"\s*', re.DOTALL)
"""Matches a field with a space before its quotes. The csv module reads such quotes as part of the text."""


class DelimitedTable(Table):
    """A file of records whose fields are separated by a character, usually with a header.

    Args:
        path: the file.
        name: its name in messages.
        text_format: settings for reading text files.
    """

    typed = False

    def __init__(self, path: Path, name: str, text_format: TextFormat | None = None) -> None:
        super().__init__(name)
        self.path = path
        self._format = text_format or TextFormat()
        self._values_by_column: dict[int, frozenset[str]] = {}
        """Values of each column that `_known_values` has read, by the index of the column."""
        self._names_by_column: dict[int, set[str]] = {}
        """Label names that the values in `_values_by_column` consist of, by the index of the column."""

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
        _, header = next(self._records(lines), (1, []))  # with --columns, this is the first row
        if isinstance(header, str):
            raise ValueError(f"The header of {self.name} cannot be read: {header}.")
        if lines.pop_undecoded():
            raise ValueError(f"The header of {self.name} has {self._format.undecoded_reason}.")
        is_header_quoted = all(len(field) > 1 and field[0] == field[-1] == '"' for field in header)
        if header and is_header_quoted and not self.is_quoted and self._format.quoting == "auto":
            raise ValueError(
                f"The header of {self.name} is quoted, but some quotes below it do not enclose fields. {_R_ADVICE}"
            )
        columns = [column.strip() for column in self._format.columns or header]
        if len(columns) != len(header):
            raise ValueError(
                f"The first line of {self.name} has {len(header)} columns; --columns has {len(columns)}: "
                f"{', '.join(columns)}. Name each column."
            )
        check_columns(columns, self.name)
        return columns

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        header = self.columns()
        indices = [header.index(column) for column in columns]
        lines = self._lines()
        num_skipped = 0 if self._format.columns else 1  # the header is not a row
        for row, (line, fields) in enumerate(itertools.islice(self._records(lines), num_skipped, None), 1):
            undecoded = lines.pop_undecoded()
            if isinstance(fields, str):
                report(row, line, fields)
            elif undecoded:
                report(row, line, self._format.undecoded_reason)
            elif len(fields) != len(header):
                report(row, line, f"{len(fields)} fields, expected {len(header)}")
            elif reason := self._explain_unusable(fields, header, indices, lines.last_content):
                report(row, line, reason)
            else:
                if lines.line_number > line:
                    label_index = indices[-1]  # label columns are read last
                    self._check_swallowed_rows(fields, label_index, line, lines.line_number)
                yield row, line, [fields[index] for index in indices]

    def _lines(self) -> Lines:
        return Lines(self.path, self._format.encoding)

    def _records(self, lines: Lines) -> Iterator[tuple[int, list[str] | str]]:
        """Yield for each record the number of its first line, and its fields or the reason why it cannot be read.

        Raises:
            BadRowsError: if a quote that is not closed properly encloses the following lines.
        """
        if not self.is_quoted:
            for content in lines:
                if record := content.rstrip("\r\n"):
                    yield lines.line_number, record.split(self.separator)
            return
        # strict: otherwise, a quote that is never closed silently swallows all following rows.
        reader = csv.reader(iter(lines), strict=True, delimiter=self.separator)
        while True:
            line = lines.line_number + 1
            fields: list[str] | str
            # The csv module rejects fields over 128 KiB, but a text may be longer. The limit is global, so restore it.
            limit = csv.field_size_limit(sys.maxsize)
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fields = f"invalid csv ({error})"
                if '\\"' in lines.last_content:
                    fields += f"; quotes escaped by a backslash are not supported. {_R_ADVICE}"
                if lines.line_number > line:
                    raise BadRowsError(
                        f"{self.name}, lines {line:,} to {lines.line_number:,}: a quote in line {line:,} encloses all "
                        f"of these lines ({error}). The lines cannot be skipped because they contain other rows. Close "
                        "the quote, double the quotes within the field, or set --quoting none if quotes are ordinary "
                        "characters."
                    ) from None
            finally:
                csv.field_size_limit(limit)
            if fields:
                yield line, fields

    def _explain_unusable(
        self, fields: Sequence[str], header: Sequence[str], indices: Sequence[int], last_content: str
    ) -> str | None:
        """Return the reason why a record cannot be used as a row; None if it can.

        Args:
            fields: fields of the record.
            header: column names.
            indices: indices of the fields that are read.
            last_content: content of the last line of the record, as in the file.
        """
        if self._format.columns:
            values = [fields[index] for index in indices]
            if _is_header(fields, header) or all(_normalize_name(field) in COMMON_NAMES for field in values):
                return "holds the column names; if it is the header, omit --columns"
        elif _is_header(fields, header) or _repeats_names(fields, header, indices):
            return "repeats the header, as in a file concatenated from several files"
        if not self.is_quoted:
            return None
        # A field whose text itself has quotes is quoted in the file, with these quotes doubled. To recognise such a
        # field, its last line is searched for in the last line of the record, the only line that is still known.
        for index in indices:
            if not _QUOTED_AFTER_SPACE.fullmatch(fields[index]):
                continue
            if _quote(fields[index]).split("\n")[-1] not in last_content:
                return f"column '{header[index]}' has a space before its quotes, so the quotes are read as text"
        return None

    def _check_swallowed_rows(self, fields: Sequence[str], label_index: int, first_line: int, last_line: int) -> None:
        """Check that no field of a record with several lines contains text that looks like other rows.

        Args:
            fields: fields of the record.
            label_index: index of the last label column, or of the last text column if there are no labels.
            first_line: number of the record's first line.
            last_line: number of the record's last line.
        Raises:
            BadRowsError: if a field contains such text.
        """
        if any(
            "\n" in field and self._holds_records(field, index, len(fields), label_index)
            for index, field in enumerate(fields)
        ):
            raise BadRowsError(
                f"{self.name}, lines {first_line:,} to {last_line:,}: a quoted field spans these lines and contains "
                "what looks like other rows. The lines cannot be skipped. Close the quote at the end of its text or, "
                "if the field is correct, store the rows as .jsonl or .parquet."
            )

    def _holds_records(self, field: str, index: int, num_fields: int, label_index: int) -> bool:
        """Return whether a line of a field looks like a record: it has all columns, and its label fits.

        The first line of the field lacks the columns before the field, and the last line lacks the columns after it. If
        the field itself is in the column `label_index`, a line also looks like a record if its values fit all other
        columns.

        Args:
            field: the field, which has several lines.
            index: index of its column.
            num_fields: number of columns.
            label_index: index of the last label column, or of the last text column if there are no labels.
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
            if self._fits(label_index, fields[label_index]) or (
                label_index == index
                and other_columns
                and all(self._fits(column, fields[column]) for column in other_columns)
            ):
                return True
        return False

    def _fits(self, index: int, value: str) -> bool:
        """Return whether a value fits a column.

        A value fits if the column contains the value itself or, for several label names in one string, all of these
        names. A number also fits any column of many different numbers, such as scores or ids.
        """
        value = value.strip()
        known = self._known_values(index)
        if value in known or not NUMBER.fullmatch(value):
            return value in known or self._consists_of_known_names(index, value)
        return len(known) > MAX_WHOLE_NUMBER_CLASSES and all(map(NUMBER.fullmatch, known))

    def _consists_of_known_names(self, index: int, value: str) -> bool:
        """Return whether a value consists of several label names that all occur in the column."""
        names = _LABEL_SEPARATOR.split(value)
        if index not in self._names_by_column:
            fields = self._known_values(index)
            self._names_by_column[index] = {name.strip() for field in fields for name in _LABEL_SEPARATOR.split(field)}
        return len(names) > 1 and all(name.strip() in self._names_by_column[index] for name in names)

    def _known_values(self, index: int) -> frozenset[str]:
        """Return the values of a column in all rows that consist of one line, without long values and up to a limit.

        Reading only the first rows would not be enough, because a file may be sorted by its labels.
        """
        if index not in self._values_by_column:
            self._values_by_column[index] = self._read_values(index)
        return self._values_by_column[index]

    def _read_values(self, index: int) -> frozenset[str]:
        lines = self._lines()
        known: set[str] = set()
        for line, fields in itertools.islice(self._records(lines), 1, None):
            if line == lines.line_number and not isinstance(fields, str) and index < len(fields):
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


def _repeats_names(fields: Sequence[str], header: Sequence[str], indices: Sequence[int]) -> bool:
    """Return whether all fields of a record that are read, at least two of them, equal their column names.

    Columns that are not read may have different names in the repeated header.
    """
    return len(indices) > 1 and all(
        len(fields[index]) <= len(header[index]) + _MAX_EXTRA_LENGTH
        and _normalize_name(fields[index]) == _normalize_name(header[index])
        for index in reversed(indices)
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
        header = next(iter(self._lines()), "")
        try:
            return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([header], delimiter=separator), [])))
        except csv.Error:  # `columns` reports an unreadable header
            return ","

    def advise_on_separator(self, column: str) -> str | None:
        return "The columns seem to be separated by tabs; rename the file to .tsv." if "\t" in column else None

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
        return self._quote_usage[0]

    def advise_on_separator(self, column: str) -> str | None:
        separator = next((name for character, name in _SEPARATORS.items() if character in column), None)
        if separator is None or len(self.columns()) > 1:
            return None
        return f"The columns seem to be separated by {separator}; rename the file to .csv."

    def notes(self) -> list[str]:
        if self._format.quoting != "auto" or self._quote_usage[1] == 0:
            return []
        is_quoted, num_lines = self._quote_usage
        meaning = "enclosing fields" if is_quoted else "ordinary characters"
        return [f"Quotes in {self.name} ({num_lines:,} lines) are read as {meaning} (see --quoting)."]

    @functools.cached_property
    def _quote_usage(self) -> tuple[bool, int]:
        """Whether quotes enclose fields, and the number of lines that have quotes.

        Quotes enclose fields if every record of the file is well-formed with quoted fields, and there is evidence that
        a program quoted them: a field contains a quote, tab or line break, or all records have quoted fields.

        Raises:
            ValueError: if a program seems to have quoted the fields, but some lines are not quoted in this way.
        """
        num_with_quotes = sum('"' in content for content in self._lines())
        if not num_with_quotes:
            return False, 0
        lines = self._lines()
        record_lines: list[str] = []

        def collect_lines() -> Iterator[str]:
            for content in lines:
                record_lines.append(content)
                yield content

        num_records = num_quoted = num_fields = 0
        needs_quotes = False
        limit = csv.field_size_limit(sys.maxsize)
        try:
            for fields in csv.reader(collect_lines(), strict=True, delimiter="\t"):
                record, line = "".join(record_lines), lines.line_number - len(record_lines) + 1
                record_lines.clear()
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
        except csv.Error:  # a quote where csv does not allow one
            line = lines.line_number - len(record_lines) + 1
        finally:
            csv.field_size_limit(limit)
        self._refuse_mixed_quotes(num_with_quotes, line)
        return False, num_with_quotes

    def _refuse_mixed_quotes(self, num_with_quotes: int, line: int) -> None:
        """Raise an error if quotes enclose fields in many lines but not in all, as if lines had been added by hand.

        Args:
            num_with_quotes: number of lines that have quotes.
            line: number of the first line whose quotes do not enclose fields.
        Raises:
            ValueError: if enough lines have quoted fields with doubled quotes inside.
        """
        num_doubled = sum(_DOUBLED_WITHIN.search(content) is not None for content in self._lines())
        if num_doubled < 2 or num_doubled < _MIN_DOUBLED_SHARE * num_with_quotes:
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
