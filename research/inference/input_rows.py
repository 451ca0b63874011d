"""Read the rows that predict.py predicts, including bad rows, in the order of the data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from heads.registry import describe_unknown
from research.data.prepare.columns import check_columns_exist, choose_text_columns
from research.data.prepare.texts import INVALID_UNICODE, BadTextError, read_text
from research.data.sources.bad_rows import BadRows
from research.data.sources.base import Source
from research.data.sources.find import describe_unused_format, find_source
from research.data.sources.reading import convert_read_errors, read_rows
from research.data.sources.tables import Table
from research.data.sources.text_format import TextFormat
from research.data.sources.text_lines import find_text_lines
from research.inference.predict_settings import ALL_COLUMNS, PredictSettings
from research.inference.saved_model import SavedModel
from research.system.plain_text import for_message


class InputRow(NamedTuple):
    """A row of the data."""

    texts: tuple[str, ...]
    """The cleaned text or pair of texts; empty for a bad row."""
    kept: tuple[Any, ...]
    """Values of the kept columns; None if the row cannot be read."""
    problem: str | None
    """Why the row cannot be predicted; None if it can."""


class InputRows:
    """The rows of the chosen split.

    Args:
        data: path or name of the data.
        settings: settings of predict.py; `data` replaces theirs.
        saved: the trained model.
        scratch: existing folder for temporary files.
    Raises:
        ValueError: if the data cannot be read, or the split or a column does not exist or cannot be guessed.
    """

    def __init__(self, data: str, settings: PredictSettings, saved: SavedModel, scratch: Path) -> None:
        text_format = TextFormat(settings.encoding, settings.quoting, tuple(settings.columns))
        with convert_read_errors(data):
            source = find_text_lines(data, text_format) or find_source(data, text_format)
        with convert_read_errors(source.name):
            self.tables = _choose_split(source, settings.split, scratch)
        first = self.tables[0]
        inputs = saved.inputs
        with convert_read_errors(first.name):
            self.text_columns, notes = choose_text_columns(
                first,
                inputs.text_columns,
                text_column=settings.text_column,
                text_pair_column=settings.text_pair_column,
                not_texts=inputs.label_columns,
            )
            self.kept_columns = tuple(settings.keep_columns)
            if settings.keep_columns == ALL_COLUMNS:
                self.kept_columns = tuple(name for name in first.columns() if name)
        for table in self.tables:
            with convert_read_errors(table.name):
                check_columns_exist([*self.text_columns, *self.kept_columns], table)
                notes += table.notes()
        self.name = source.name
        self.identity = source.identity
        self.notes = [*source.notes, *notes, *describe_unused_format(source, text_format)]
        """Messages about how the data are read, to be logged."""
        self._clean = saved.clean
        # The text columns come last, because csv files are checked for swallowed rows by the last column.
        others = [name for name in dict.fromkeys(self.kept_columns) if name not in self.text_columns]
        self._columns = [*others, *self.text_columns]

    def read(self, bad: BadRows) -> Iterator[InputRow]:
        """Yield the rows in order, and count the bad rows.

        Raises:
            ValueError: if the rest of a file cannot be read.
        """
        for number, table in enumerate(self.tables):
            unreadable: list[InputRow] = []

            def report(
                row: int,
                line: int,
                reason: str,
                *,
                kept: tuple[Any, ...] | None = None,
                table: Table = table,
                number: int = number,
                unreadable: list[InputRow] = unreadable,
            ) -> None:
                bad.add(number, row, table.place(row, line), reason)
                unreadable.append(InputRow((), kept or (None,) * len(self.kept_columns), for_message(reason)))

            for row, line, values in read_rows(table, self._columns, report):
                # Bad rows between this row and the previous one have been reported by now.
                yield from unreadable
                unreadable.clear()
                by_name = dict(zip(self._columns, values, strict=True))
                kept = tuple(by_name[name] for name in self.kept_columns)
                try:
                    _check_encodable(kept)
                    texts = tuple(read_text(by_name[name], self._clean) for name in self.text_columns)
                    _check_encodable(texts)
                    yield InputRow(texts, kept, None)
                except UnicodeEncodeError:
                    report(row, line, INVALID_UNICODE)
                except BadTextError as error:
                    report(row, line, str(error), kept=kept)
            yield from unreadable

    def count(self) -> int:
        """Return the number of rows, including bad rows.

        Raises:
            ValueError: if a part of the data cannot be read.
        """
        num_bad = 0

        def count_bad(row: int, line: int, reason: str) -> None:
            nonlocal num_bad
            num_bad += 1

        num_readable = sum(1 for table in self.tables for _ in read_rows(table, self._columns, count_bad))
        return num_readable + num_bad


def chunks(rows: Iterator[InputRow], size: int) -> Iterator[list[InputRow]]:
    """Yield lists of `size` rows; the last one may be shorter. If there are no rows, yield one empty list."""
    chunk = list(itertools.islice(rows, size))
    yield chunk
    while len(chunk) == size and (chunk := list(itertools.islice(rows, size))):
        yield chunk


def _choose_split(source: Source, split: str | None, scratch: Path) -> Sequence[Table]:
    """Return the tables of the chosen split.

    Raises:
        ValueError: if there is no such split, or none is chosen and there are several.
    """
    tables = source.open(scratch)
    if split is None and len(tables) > 1:
        raise ValueError(f"{source.name} has the splits {', '.join(tables)}. Choose one with --split.")
    split = next(iter(tables)) if split is None else split
    if split not in tables:
        raise ValueError(f"{source.name}: {describe_unknown('split', split, list(tables), listed_as='Splits')}")
    return tables[split]


def _check_encodable(value: Any) -> None:
    """Raise UnicodeEncodeError if a string, also inside of lists and mappings, contains half of a surrogate pair."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        _check_encodable(list(value.items()))
    elif isinstance(value, list | tuple):
        for item in value:
            _check_encodable(item)
