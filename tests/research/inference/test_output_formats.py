"""Each format joins parts to one file that other programs read."""

from __future__ import annotations

import csv
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research.inference.output_formats import OUTPUT_FORMATS

NAMES = ["id", "when", "more", "prediction"]


def join(suffix: str, folder: Path, *parts: dict[str, Any]) -> tuple[Path, list[str]]:
    """Write parts and join them; return the file and the messages."""
    paths = [folder / f"{number}{suffix}" for number in range(len(parts))]
    for columns, path in zip(parts, paths, strict=True):
        OUTPUT_FORMATS[suffix].write_part(columns, path)
    output = folder / f"joined{suffix}"
    return output, OUTPUT_FORMATS[suffix].join(paths, list(parts[0]), output)


def example_parts() -> list[dict[str, Any]]:
    """Return two parts with missing values, a date, nested values and a value that is not a number."""
    return [
        {
            "id": [1, None],
            "when": [dt.date(2024, 5, 1), None],
            "more": [{"a": [1, float("nan")]}, None],
            "prediction": pa.array(['good, or "bad"', None]),
        },
        {"id": [3], "when": [None], "more": [None], "prediction": pa.array(["two\nlines"])},
    ]


def test_csv_has_one_header_and_empty_fields_for_missing_values(tmp_path: Path) -> None:
    output, messages = join(".csv", tmp_path, *example_parts())
    with output.open(newline="") as file:
        assert list(csv.reader(file)) == [
            NAMES,
            ["1", '"2024-05-01"', '{"a": [1, null]}', 'good, or "bad"'],
            ["", "", "", ""],
            ["3", "", "", "two\nlines"],
        ]
    assert messages == []


def test_jsonl_keeps_values_exactly(tmp_path: Path) -> None:
    output, messages = join(".jsonl", tmp_path, *example_parts(), {"id": ["x"], "when": [2**70], "more": [1.5]})
    assert [json.loads(line) for line in output.read_text().splitlines()] == [
        {"id": 1, "when": "2024-05-01", "more": {"a": [1, None]}, "prediction": 'good, or "bad"'},
        {"id": None, "when": None, "more": None, "prediction": None},
        {"id": 3, "when": None, "more": None, "prediction": "two\nlines"},
        {"id": "x", "when": 2**70, "more": 1.5},
    ]
    assert messages == []


def test_parquet_unifies_the_types_of_the_parts(tmp_path: Path) -> None:
    output, messages = join(".parquet", tmp_path, *example_parts())
    table = pq.read_table(output)
    assert table.column_names == NAMES
    assert table.schema.field("id").type == pa.int64()
    assert table.schema.field("when").type == pa.date32()
    assert table.column("id").to_pylist() == [1, None, 3]
    assert table.column("prediction").to_pylist() == ['good, or "bad"', None, "two\nlines"]
    assert messages == []


@pytest.mark.parametrize(
    "parts",
    [[["a", 1.5, None], [True]], [["a"], [1.5], [None], [True]]],
    ids=["within a part", "between parts"],
)
def test_parquet_writes_values_of_several_types_as_json_and_reports_it(tmp_path: Path, parts: list[list[Any]]) -> None:
    output, messages = join(".parquet", tmp_path, *({"id": values} for values in parts))
    assert pq.read_table(output).column("id").to_pylist() == ["a", "1.5", None, "true"]
    assert len(messages) == 1
    assert "'id'" in messages[0]
