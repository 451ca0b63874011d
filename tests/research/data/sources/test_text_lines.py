"""Text files with one text per line."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path

import pytest

from research.data.sources.text_format import TextFormat
from research.data.sources.text_lines import find_text_lines


def _append(bad: list[tuple[int, int, str]], row: int, line: int, reason: str) -> None:
    bad.append((row, line, reason))


def test_find_text_lines_returns_every_line_as_a_row(tmp_path: Path) -> None:
    content = "good film\n\n bad\r\ncaf\xe9\nlast".encode() + b"\n\xff\n"
    (tmp_path / "a.txt").write_bytes(content)
    with gzip.open(tmp_path / "b.txt.gz", "wb") as file:
        file.write(content)
    for name in ("a.txt", "b.txt.gz"):
        source = find_text_lines(str(tmp_path / name), TextFormat())
        assert source is not None
        (table,) = source.open(tmp_path)["train"]
        bad: list[tuple[int, int, str]] = []
        rows = list(table.rows(["text"], partial(_append, bad)))
        assert [values[0] for _, _, values in rows] == ["good film", "", " bad", "café", "last"]
        assert [(row, line) for row, line, _ in bad] == [(6, 6)]
        assert table.columns() == ["text"]


def test_find_text_lines_leaves_other_data_to_their_sources(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("__label__good a fine film\n")
    (tmp_path / "a.csv").write_text("text\na\n")
    for spec in (str(tmp_path / "a.txt"), str(tmp_path / "a.csv"), str(tmp_path), "imdb"):
        assert find_text_lines(spec, TextFormat()) is None


def test_find_text_lines_refuses_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match=r"a\.txt is empty"):
        find_text_lines(str(tmp_path / "a.txt"), TextFormat())
