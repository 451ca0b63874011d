"""Read JSON files that hold a list, an object around the list, or one object per line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from research.data.prepare.load import Splits
from research.data.sources.bad_rows import BadRowsError
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteJsonl
from tests.research.data.loaded_rows import rows_in

# The texts contain line breaks, characters that JSON may escape, and characters that have a meaning in JSON.
ROWS: list[dict[str, Any]] = [
    {"text": f"café\n{row} \U0001f600 [" + '{"', "label": row % 2, "spans": [{"end": 1.5}]} for row in range(40)
]


def sorted_rows(splits: Splits) -> list[tuple[int, str, int]]:
    return sorted((row["id"], row["text"], row["label"]) for _, split in splits.items() for row in split)


def to_json_lines(rows: list[dict[str, Any]], **options: Any) -> str:
    return "\n".join(json.dumps(row, **options) for row in rows)


# Each of these rows begins like an object around a list of rows.
ROWS_STARTING_WITH_A_LIST = [{"spans": row["spans"], **row} for row in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2, ensure_ascii=False),
        "\ufeff \n" + json.dumps(ROWS, separators=(",", ":")) + "\n\n",
        json.dumps({"data": ROWS}),
        json.dumps({"rows": ROWS_STARTING_WITH_A_LIST}, indent="\t"),
        to_json_lines(ROWS),
        "\n" + to_json_lines(ROWS_STARTING_WITH_A_LIST) + "\n\n",
    ],
)
def test_all_json_layouts_are_read(load: Loader, tmp_path: Path, content: str) -> None:
    (tmp_path / "reviews.json").write_text(content, encoding="utf-8")
    splits = load(tmp_path / "reviews.json")
    assert sorted_rows(splits) == [(number, row["text"], row["label"]) for number, row in enumerate(ROWS)]


def test_ndjson_is_read_as_jsonl(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "reviews.NDJSON").write_text(to_json_lines(ROWS))
    assert len(sorted_rows(load(tmp_path / "reviews.NDJSON"))) == 40


def test_json_splits_of_a_folder_are_read(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json").write_text(json.dumps(ROWS))
    (tmp_path / "data" / "test.json").write_text(json.dumps({"text": "one row", "label": 1}))
    (tmp_path / "data" / "val.ndjson").write_text(to_json_lines(ROWS[:3]))
    assert [len(split) for _, split in load(tmp_path / "data").items()] == [40, 3, 1]


def test_json_values_longer_than_a_chunk_are_read(load: Loader, tmp_path: Path) -> None:
    rows = [{"text": f"{row} " + '\\"é\U0001f600' * 30_000, "label": row % 2} for row in range(12)]
    (tmp_path / "reviews.json").write_text(json.dumps(rows))
    assert [text for _, text, _ in sorted_rows(load(tmp_path / "reviews.json"))] == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("bad_element", "message"),
    [
        ("3", r"row 21 \(line 22\): not a JSON object"),
        ("null", r"row 21 \(line 22\): not a JSON object"),
        (
            '{"text": "a", "label": 1, "text": "b"}',
            r"row 21 \(line 22\): invalid JSON \(duplicate key 'text'",
        ),
        ('{"text": "caf\udce9", "label": 1}', r"row 21 \(line 22\): invalid UTF-8"),
        ('{"text": null,\n "label": 1}', r"row 21 \(line 22\): missing text"),
    ],
)
def test_bad_element_of_a_json_list_is_reported_with_row_and_line(
    load: Loader, tmp_path: Path, bad_element: str, message: str
) -> None:
    elements = [*map(json.dumps, ROWS[:20]), bad_element, *map(json.dumps, ROWS[20:])]
    content = "[\n" + ",\n".join(elements) + "\n]"
    (tmp_path / "reviews.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadRowsError, match=message):
        load(tmp_path / "reviews.json")
    assert [number for number, _, _ in sorted_rows(load(tmp_path / "reviews.json", bad_rows="skip"))] == [
        number for number in range(41) if number != 20
    ]


def test_bad_line_of_a_json_file_is_reported(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "reviews.json").write_text('{"text": "a", broken\n' + to_json_lines(ROWS))
    with pytest.raises(BadRowsError, match=r"row 1: invalid JSON"):
        load(tmp_path / "reviews.json")
    assert len(sorted_rows(load(tmp_path / "reviews.json", bad_rows="skip"))) == 40


LIST_CONTENT = json.dumps(ROWS, indent=0)
"""A list of 362 lines: the opening bracket, nine lines for each of the 40 rows, and the closing bracket."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LIST_CONTENT[:-1], "reviews.json, line 362: .*truncated"),
        (LIST_CONTENT[:1000], r"reviews.json, line \d+: invalid JSON"),
        (LIST_CONTENT + "x", r"line 362: .*found 'x'"),
        (LIST_CONTENT.replace("},\n", "}\n", 1), r"line 11: .*',' or '\]'.*'{'"),
        (LIST_CONTENT.replace("1.5", "1.5.5", 1), r"line 7: invalid JSON"),
        # Without the closing brackets of the last row, the list and the object.
        (json.dumps({"data": ROWS}, indent=0)[:-9], r"reviews.json, line 360: invalid JSON"),
        (LIST_CONTENT.replace("1.5", "9" * 5000, 1), "invalid JSON"),  # more digits than Python's int() accepts
        ("[" * 100_000, "invalid JSON"),
        (json.dumps({"version": "1.1", "data": ROWS}), "reviews.json .*single JSON object"),
        (json.dumps({"data": ROWS, "version": "1.1"}), "reviews.json .*single JSON object"),
        (json.dumps({"train": ROWS, "test": ROWS}), "reviews.json .*single JSON object"),
        (json.dumps({"text": ["a", "b"], "label": [0, 1]}), "reviews.json .*single JSON object"),
        (json.dumps({"text": {"0": "a"}, "label": {"0": 1}}, indent=1), "reviews.json .*single JSON object"),
        ("{}", "reviews.json .*single JSON object"),
        ("[]", "reviews.json has no JSON objects;"),
        ("[1, 2]", r"reviews.json has no JSON objects \(line 1: "),
        ('"text"', "reviews.json begins with '\"'"),
        (" \n", "reviews.json begins with ''"),
    ],
)
def test_invalid_json_file_is_refused_with_a_one_line_message(
    load: Loader, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "reviews.json").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "reviews.json", bad_rows="skip")
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, BadRowsError)


def test_jsonl_refuses_a_list_of_objects(load: Loader, write_jsonl: WriteJsonl) -> None:
    with pytest.raises(ValueError, match=r"reviews\.jsonl .*\(line 1: .*\.json"):
        load(write_jsonl(['[{"text": "a", "label": 1}]']))


def test_jsonl_reads_escapes_and_skips_blank_lines(load: Loader, write_jsonl: WriteJsonl) -> None:
    rows: list[dict[str, Any]] = [{"text": f"café {row}", "label": row % 2} for row in range(40)]
    splits = load(write_jsonl([*rows[:20], "", *rows[20:]]))
    assert [text for text, _ in rows_in(splits)] == sorted(row["text"] for row in rows)
    assert splits.task.label_names == ("0", "1")


@pytest.mark.parametrize(
    ("bad_row", "reason"),
    [
        ('{"text": "a", "label"', "invalid JSON"),
        ('["a", "b"]', "not a JSON object"),
        ('{"text": "a", "text": "b", "label": 1}', "duplicate key 'text'"),
        ("[" * 100_000, "invalid JSON"),
    ],
)
def test_bad_line_of_a_jsonl_file_is_reported_with_the_reason(
    load: Loader, write_jsonl: WriteJsonl, bad_row: str, reason: str
) -> None:
    rows = [{"text": f"review {row}", "label": row % 2} for row in range(9)]
    with pytest.raises(BadRowsError, match=in_order("1 bad row of 10: ", "reviews.jsonl, row 6: ", reason)):
        load(write_jsonl([*rows[:5], bad_row, *rows[5:]]))
