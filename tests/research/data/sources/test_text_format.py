"""Report bytes that cannot be decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.data.sources.text_format import TextFormat
from research.data.sources.text_tables import CsvTable


@pytest.mark.parametrize(("encoding", "expected"), [(None, "--encoding"), ("utf-8", "utf-8"), ("ascii", "ascii")])
def test_undecodable_row_is_reported_with_its_encoding_or_with_the_setting_for_it(
    tmp_path: Path, encoding: str | None, expected: str
) -> None:
    (tmp_path / "rows.csv").write_bytes(b"text,label\nfine,1\ncaf\xe9,0\n")
    text_format = TextFormat(encoding)
    bad: list[tuple[int, int, str]] = []
    table = CsvTable(tmp_path / "rows.csv", "rows.csv", text_format)
    assert list(table.rows(["text"], lambda *row: bad.append(row))) == [(1, 2, ["fine"])]
    assert bad == [(2, 3, text_format.undecoded_reason)]
    assert expected in text_format.undecoded_reason
