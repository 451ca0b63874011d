"""Find the data set that --data names, or report why it cannot be found."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews


@pytest.mark.parametrize("spec", ["", " "])
def test_load_refuses_an_empty_data_setting(load: Loader, spec: str) -> None:
    with pytest.raises(ValueError, match="--data is empty"):
        load(spec)


def test_load_refuses_a_missing_path(load: Loader, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'.*nothing\.csv'.*imdb, rotten_tomatoes"):
        load(tmp_path / "nothing.csv")


def test_load_refuses_an_unknown_extension(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "reviews.docx").write_text("x")
    with pytest.raises(ValueError, match=r"'\.docx'.*\.csv, .*\.parquet"):
        load(tmp_path / "reviews.docx")


def test_load_refuses_a_folder_without_data(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=in_order(f"'{tmp_path}'", "named after splits", "imdb")):
        load(tmp_path)


def test_unused_text_format_settings_are_reported(
    load: Loader, tmp_path: Path, write_csv: WriteCsv, write_jsonl: WriteJsonl
) -> None:
    rows = [{"text": f"text {row}", "label": "pn"[row % 2]} for row in range(40)]
    settings = {"columns": ("text", "label"), "quoting": "none", "encoding": "utf-8"}
    parquet = tmp_path / "reviews.parquet"
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    unused = {}
    # Because `columns` is set, the first line of the csv file is a row.
    for path in (parquet, write_jsonl(rows), write_csv(*reviews(40), header="a text,p")):
        load(path, **settings)
        unused[path.suffix] = {name for name in settings if load.reported(f"Warning: {name} ")}
    assert unused == {".parquet": settings.keys(), ".jsonl": {"columns", "quoting"}, ".csv": set()}


@pytest.mark.parametrize("spec", ["~nosuchuser/train.csv", "x" * 5000, "a" * 300 + ".csv", "nul\0byte.csv"])
def test_inaccessible_paths_are_refused_with_a_one_line_message(load: Loader, spec: str) -> None:
    with pytest.raises(ValueError, match=re.escape(spec[:3])) as caught:
        load(spec)
    assert "\n" not in str(caught.value)
