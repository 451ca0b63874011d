"""Classify columns by their names and first rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.data.prepare.column_contents import Content, classify_columns
from research.data.sources.text_tables import TsvTable


def classify(folder: Path, name: str, values: list[str]) -> Content:
    """Return the kind of content of a column with the given name and values."""
    (folder / "rows.tsv").write_text("\n".join([name, *values]) + "\n", encoding="utf-8")
    return classify_columns(TsvTable(folder / "rows.tsv", "rows.tsv"), [name])[name]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("body", ["a fine film", "so so it is"], Content.TEXT),
        ("body", ["a fine film", "so so it is", "dull"], Content.TEXT),
        ("body", ["a fine film", "dull"], Content.OTHER),  # more than half must be text
        ("body", ["这部电影很好看", "他们每天都这样做"], Content.TEXT),
        ("body", ["好", "坏"], Content.OTHER),
        ("body", ["fine", "dull"], Content.OTHER),
        ("body", [" ", "\u00a0"], Content.OTHER),
        ("body", ["12", "-3.5"], Content.ID),
        ("body", ["2024-01-31 10:00", "31.1.2024 9:30"], Content.ID),
        ("body", ["user_12", "0a1b2c"], Content.ID),
        ("body", [*["7"] * 9, "a fine film"], Content.ID),
        ("body", [*["7"] * 8, "a fine film", "so so it is"], Content.OTHER),  # at least 90% must be numbers or ids
        ("user_id", ["a fine film", "so so it is"], Content.ID),
        ("UUID", ["a fine film", "so so it is"], Content.ID),
        ("Unnamed: 0", ["a fine film", "so so it is"], Content.ID),
        ("idea", ["a fine film", "so so it is"], Content.TEXT),
    ],
)
def test_classify_columns_uses_name_and_values(tmp_path: Path, name: str, values: list[str], expected: Content) -> None:
    assert classify(tmp_path, name, values) is expected


def test_classify_columns_reads_only_the_first_500_rows(tmp_path: Path) -> None:
    assert classify(tmp_path, "body", ["a fine film"] * 500 + ["7"] * 5000) is Content.TEXT


def test_classify_columns_without_columns_reads_no_file(tmp_path: Path) -> None:
    assert classify_columns(TsvTable(tmp_path / "missing.tsv", "missing.tsv"), []) == {}
