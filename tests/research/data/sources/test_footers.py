"""Footers of parquet files describe the rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from research.data.sources.arrow_tables import ParquetTable
from research.data.sources.footers import Footer


def footer_of(path: Path, texts: list[str], row_group_size: int) -> Footer:
    """Write a file with the given texts, and return its footer."""
    pq.write_table(pa.table({"text": texts}), path, row_group_size=row_group_size)
    return ParquetTable(path, "rows").read_footer()


def test_footer_has_the_sizes_of_the_row_groups(tmp_path: Path) -> None:
    assert footer_of(tmp_path / "a.parquet", ["a"] * 7, 3).num_rows == (3, 3, 1)
    assert footer_of(tmp_path / "a.parquet", [], 3).num_rows in ((), (0,))


def test_hash_of_the_footer_depends_on_the_content_only(tmp_path: Path) -> None:
    texts = ["a text", "another text", "c"]
    first = footer_of(tmp_path / "a.parquet", texts, 2)
    assert footer_of(tmp_path / "b.parquet", texts, 2) == first
    for changed, size in ((texts, 3), ([*texts, "d"], 2), (["b text", *texts[1:]], 2), (["a text!", *texts[1:]], 2)):
        assert footer_of(tmp_path / "b.parquet", changed, size).sha256 != first.sha256


def test_hash_of_the_footer_includes_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    first = footer_of(path, ["a", "b"], 2)
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"????" + content[4:])  # the footer is unchanged
    assert ParquetTable(path, "rows").read_footer().sha256 != first.sha256
