"""Read Excel workbooks. They have the same rows as the csv files that Excel exports."""

from __future__ import annotations

import datetime as dt
import gzip
import re
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from research.data.sources.bad_rows import BadRowsError
from research.data.sources.excel import ExcelTable
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv

Sheets = dict[str, Sequence[Sequence[Any]]]
WriteWorkbook = Callable[..., Path]


@pytest.fixture
def write_workbook(tmp_path: Path) -> WriteWorkbook:
    """Return a function that writes a workbook from the rows of its sheets."""

    def write_sheets(sheets: Sheets, name: str = "reviews.xlsx") -> Path:
        workbook = openpyxl.Workbook()
        workbook.remove(workbook.active)
        for title, rows in sheets.items():
            sheet = workbook.create_sheet(title)
            for row in rows:
                sheet.append(row)
        workbook.save(tmp_path / name)
        return tmp_path / name

    return write_sheets


def make_sheet(label_of_row: Callable[[int], Any], num_rows: int = 40) -> list[list[Any]]:
    """Return the rows of a sheet: a header, and rows with an id, a text and the label that `label_of_row` returns."""
    return [["id", "text", "label"], *([row, f"text {row}", label_of_row(row)] for row in range(num_rows))]


def test_excel_cells_are_converted_as_in_a_csv_export(write_workbook: WriteWorkbook) -> None:
    values = [None, "a", 1, 1.0, 0.25, True, dt.date(2024, 1, 31), dt.datetime(2024, 1, 31, 9, 30), dt.time(9, 30)]
    path = write_workbook({"data": [["value", "text"], *([value, "x"] for value in values)]})
    rows = ExcelTable(path, "reviews.xlsx").rows(["value"], report=print)
    expected = ["", "a", "1", "1", "0.25", "TRUE", "2024-01-31", "2024-01-31T09:30:00", "09:30:00"]
    assert [value for _, _, (value,) in rows] == expected


@pytest.mark.parametrize(
    ("label_of_row", "task_name", "names"),
    [
        (lambda row: "np"[row % 2], "single_label", ("n", "p")),
        (lambda row: row % 3, "single_label", ("0", "1", "2")),
        (lambda row: row / 8, "regression", None),
    ],
)
def test_excel_columns_and_task_are_guessed_as_in_csv_files(
    load: Loader,
    write_workbook: WriteWorkbook,
    write_csv: WriteCsv,
    label_of_row: Callable[[int], Any],
    task_name: str,
    names: tuple[str, ...] | None,
) -> None:
    rows = make_sheet(label_of_row)
    splits = load(write_workbook({"Sheet1": rows}))
    assert splits.task.name == task_name
    assert names is None or splits.task.label_names == names
    excel_messages = [line.replace(".xlsx", ".csv") for line in load.messages]
    csv_splits = load(write_csv(*(",".join(map(str, row)) for row in rows[1:]), header="id,text,label"))
    assert splits.train[:] == csv_splits.train[:]
    assert splits.test[:] == csv_splits.test[:]
    assert excel_messages == load.messages


def test_excel_reads_the_only_sheet_with_rows(load: Loader, write_workbook: WriteWorkbook) -> None:
    splits = load(
        write_workbook({"cover": [], "data": [[], *make_sheet(lambda row: "np"[row % 2]), [None], []], "end": [[None]]})
    )
    assert sum(len(split) for _, split in splits.items()) == 40


def test_excel_refuses_several_sheets_with_rows(load: Loader, write_workbook: WriteWorkbook) -> None:
    with pytest.raises(ValueError, match=in_order("one sheet", "reviews.xlsx", "2: 'data', 'notes'")):
        load(write_workbook({"data": make_sheet(str), "empty": [], "notes": [["who wrote this"]]}))


def test_excel_refuses_a_workbook_without_rows(load: Loader, write_workbook: WriteWorkbook) -> None:
    with pytest.raises(ValueError, match=r"reviews\.xlsx is empty"):
        load(write_workbook({"data": [], "more": [[None, None]]}))


def test_excel_bad_rows_are_reported_with_their_row_in_the_sheet(load: Loader, write_workbook: WriteWorkbook) -> None:
    rows = [*make_sheet(lambda row: "np"[row % 2]), [], [40, None, "n"], [41, "text", None], [42, "text", "n", "more"]]
    rows.append([43, "#REF!", "n"])
    path = write_workbook({"data": rows})
    with pytest.raises(BadRowsError) as caught:
        load(path)
    reasons = (
        "41 (line 43): empty text",
        "42 (line 44): missing label",
        "43 (line 45): 4 cells",
        "44 (line 46): ",
        "#REF!",
    )
    assert re.search(in_order("4 bad rows of 44: ", *reasons), str(caught.value))
    assert sum(item.rows for item in load(path, bad_rows="skip").skipped_rows) == 4


def test_excel_formulas_are_read_as_their_stored_values(load: Loader, write_workbook: WriteWorkbook) -> None:
    path = write_workbook({"data": [*make_sheet(lambda row: "np"[row % 2]), [40, "=A1", "n"]]})
    with pytest.raises(BadRowsError, match=r"row 41.*: empty text"):
        load(path)  # openpyxl stores no value, because it does not compute formulas
    # Store a value for the formula, as Excel does.
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"]
    assert b"<v></v>" in sheet or b"<v />" in sheet or b"<v/>" in sheet
    for empty in (b"<v></v>", b"<v />", b"<v/>"):
        sheet = sheet.replace(empty, b"<v>2024.5</v>")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**parts, "xl/worksheets/sheet1.xml": sheet}.items():
            archive.writestr(name, content)
    splits = load(path)
    assert "2024.5" in [text for _, split in splits.items() for text in split["text"]]


def test_excel_refuses_duplicate_column_names(load: Loader, write_workbook: WriteWorkbook) -> None:
    with pytest.raises(ValueError, match=r"reviews.xlsx .* column named 'text'"):
        load(write_workbook({"data": [["text", "text", "label"], ["a", "b", "c"]]}))


def test_excel_refuses_compressed_and_damaged_workbooks(
    load: Loader, write_workbook: WriteWorkbook, tmp_path: Path
) -> None:
    path = write_workbook({"data": make_sheet(str)})
    content = path.read_bytes()
    (tmp_path / "reviews.xlsx.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"reviews.xlsx.gz' is compressed, .*xlsx"):
        load(tmp_path / "reviews.xlsx.gz")
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"reviews\.xlsx .*Excel workbook, .*damaged"):
        load(path)


def test_error_about_missing_openpyxl_contains_the_extra_to_install(
    load: Loader, write_workbook: WriteWorkbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_workbook({"data": make_sheet(str)})
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ValueError, match=r'pip install "midway\[excel\]"'):
        load(path)
