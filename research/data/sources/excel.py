"""Read the rows of the only non-empty sheet of an Excel workbook, as Excel would export them to a csv file."""

from __future__ import annotations

import datetime as dt
import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from research.data.sources.base import FileSource, register_data
from research.data.sources.reading import describe_briefly
from research.data.sources.tables import Report, Table, check_columns, check_file
from research.data.sources.text_format import TextFormat

_ROWS_PER_READ = 1000
"""Number of rows that are read at a time."""
Cells = list[tuple[str, bool]]
"""The cells of a row without trailing empty cells: the text of each, and whether it is an error such as #REF!."""


class ExcelTable(Table):
    """The only non-empty sheet of a workbook. Its first row holds the column names."""

    typed = False

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(name)
        self.path = path

    def columns(self) -> list[str]:
        check_file(self.path, self.name)
        with self._open() as rows:
            _, header = next(rows)
        columns = [text.strip() for text, _ in header]
        check_columns(columns, self.name)
        return columns

    def rows(self, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
        with self._open() as rows:
            _, header = next(rows)
            names = [text.strip() for text, _ in header]
            indices = [names.index(column) for column in columns]
            for row, (line, cells) in enumerate(rows, 1):
                padded = cells + [("", False)] * (len(names) - len(cells))
                errors = [text for text, is_error in (padded[index] for index in indices) if is_error]
                if len(cells) > len(names):
                    report(row, line, f"{len(cells)} cells, expected {len(names)}")
                elif errors:
                    report(row, line, f"a cell holds the error {errors[0]}")
                else:
                    yield row, line, [padded[index][0] for index in indices]

    @contextmanager
    def _open(self) -> Iterator[Iterator[tuple[int, Cells]]]:
        """Open the only non-empty sheet, and yield an iterator over its non-empty rows and their row numbers.

        Raises:
            ValueError: if the file is not a workbook, or does not have exactly one non-empty sheet.
        """
        openpyxl = import_openpyxl()
        with self._convert_errors():
            workbook = openpyxl.load_workbook(self.path, read_only=True, data_only=True)
        try:
            non_empty = [sheet for sheet in workbook.worksheets if next(self._rows(sheet), None) is not None]
            if not non_empty:
                raise ValueError(f"{self.name} is empty; expected at least one row.")
            if len(non_empty) > 1:
                titles = ", ".join(repr(sheet.title) for sheet in non_empty)
                raise ValueError(
                    f"Expected one sheet with rows in {self.name}; found {len(non_empty)}: {titles}. Save the sheet "
                    "with the data as a separate file."
                )
            yield self._rows(non_empty[0])
        finally:
            workbook.close()

    def _rows(self, sheet: Any) -> Iterator[tuple[int, Cells]]:
        """Yield the non-empty rows of a sheet, each with its row number from 1."""
        sheet.reset_dimensions()  # the dimensions that other programs write may be wrong
        cells = sheet.iter_rows()
        for start in itertools.count(1, _ROWS_PER_READ):
            with self._convert_errors():
                batch = [_read_cells(row) for row in itertools.islice(cells, _ROWS_PER_READ)]
            yield from ((number, row) for number, row in enumerate(batch, start) if row)
            if len(batch) < _ROWS_PER_READ:
                return

    @contextmanager
    def _convert_errors(self) -> Iterator[None]:
        """Turn any error of the library into a ValueError with a one-line message.

        All exceptions are caught, because the library raises a dozen kinds. Its warnings are ignored, because they
        concern parts of the workbook that are not read.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception as error:
            raise ValueError(
                f"{self.name} is not an Excel workbook, or is damaged: {describe_briefly(error)}."
            ) from error


def import_openpyxl() -> Any:
    """Import the library that reads workbooks.

    Raises:
        ValueError: if it is not installed.
    """
    try:
        import openpyxl
    except ImportError:
        raise ValueError(
            'Reading Excel files requires the package openpyxl; install it with: pip install "midway[excel]"'
        ) from None
    return openpyxl


@register_data("excel")
class ExcelSource(FileSource):
    """Excel workbooks with a single non-empty sheet and a header. Requires the `excel` extra."""

    suffixes = (".xlsx",)
    is_text = False

    def check(self, path: Path) -> None:
        super().check(path)
        import_openpyxl()  # raises an error if it is not installed

    def open_table(self, path: Path, name: str, text_format: TextFormat) -> Table:
        return ExcelTable(path, name)


def _read_cells(row: Sequence[Any]) -> Cells:
    """Return the cells of a row as text, without trailing empty cells."""
    cells = [(_as_text(cell.value), cell.data_type == "e") for cell in row]
    while cells and not cells[-1][0]:
        cells.pop()
    return cells


def _as_text(value: Any) -> str:
    """Return the value of a cell as Excel exports it to a csv file, except that dates are in ISO format."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return str(value)
