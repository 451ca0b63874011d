"""Check files and columns in the same way for all file types."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research.data.sources.tables import check_columns, check_file
from research.data.sources.text_tables import CsvTable
from tests.file_modes import enforce_file_modes
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv


def test_load_refuses_an_empty_file(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"empty\.csv is empty"):
        load(tmp_path / "empty.csv")


def test_load_refuses_duplicate_column_names(load: Loader, write_csv: WriteCsv) -> None:
    with pytest.raises(ValueError, match=r"reviews\.csv .* column named 'text'"):
        load(write_csv("a,b,c", header="text,text,label"))


def test_parquet_refuses_duplicate_column_names(load: Loader, tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match=r"twice\.parquet .* column named 'text'"):
        load(tmp_path / "twice.parquet")


@pytest.mark.parametrize(
    ("header", "alike"), [("text,Text,label", "'text', 'Text'"), ("text,label,LABEL", "'label', 'LABEL'")]
)
def test_load_refuses_column_names_that_differ_only_in_case(
    load: Loader, write_csv: WriteCsv, header: str, alike: str
) -> None:
    with pytest.raises(ValueError, match=in_order("reviews.csv", "case", alike)):
        load(write_csv("a,b,c", header=header))


def test_check_file_requires_a_readable_file_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "pointer").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146")
    (tmp_path / "rows").write_text("x")
    check_file(tmp_path / "rows", "rows")  # raises no error; the second argument is the name for messages
    for name, expected in (("folder", "file"), ("missing", "file"), ("empty", "empty"), ("pointer", "git lfs pull")):
        with pytest.raises(ValueError, match=in_order(f"reviews/{name}", expected)):
            check_file(tmp_path / name, f"reviews/{name}")
    (tmp_path / "rows").chmod(0)
    with enforce_file_modes(), pytest.raises(ValueError, match=in_order("reviews/rows", "Permission denied")):
        check_file(tmp_path / "rows", "reviews/rows")


def test_check_columns_allows_several_unnamed_columns() -> None:
    check_columns(["", "text", "", "label"], "reviews.csv")  # raises no error
    with pytest.raises(ValueError, match=in_order("reviews.csv", "'b', 'text'")):
        check_columns(["text", "b", "", "text", "b", "a"], "reviews.csv")


def test_place_includes_the_line_number_only_if_it_differs_from_the_row_number(tmp_path: Path) -> None:
    table = CsvTable(tmp_path / "a", "line\nbreak.csv")
    assert table.place(3, 3) == table.place(3, 0) == r"line\nbreak.csv, row 3"
    assert table.place(3, 4) == r"line\nbreak.csv, row 3 (line 4)"
