"""Read lines of text files in any encoding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from research.data.sources.bad_rows import BadRowsError
from research.data.sources.lines import Lines, has_undecoded, open_text
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews
from tests.research.data.loaded_rows import texts_in


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
def test_text_files_are_read_in_several_encodings(load: Loader, tmp_path: Path, encoding: str, name: str) -> None:
    texts = [f"café {row}" for row in range(40)]
    lines = ["text,label", *(f"{text},{number % 2}" for number, text in enumerate(texts))]
    if name.endswith("jsonl"):
        lines = [f'{{"text": "{text}", "label": {number % 2}}}' for number, text in enumerate(texts)]
    (tmp_path / name).write_bytes("\n".join(lines).encode(encoding))
    settings = {"encoding": encoding} if encoding == "cp1252" else {}
    assert texts_in(load(tmp_path / name, **settings)) == set(texts)


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-16-le"])
def test_byte_order_mark_is_removed_even_if_the_encoding_is_set(
    load: Loader, tmp_path: Path, encoding: str, name: str
) -> None:
    lines = [json.dumps({"text": f"review {row}", "label": row % 2}) for row in range(20)]
    content = "\n".join(["text,label", *reviews(20)] if name.endswith(".csv") else lines)
    (tmp_path / name).write_bytes(f"\ufeff{content}".encode(encoding))
    splits = load(tmp_path / name, encoding=encoding, text_column="text")
    assert sum(len(split) for _, split in splits.items()) == 20


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl", "reviews.json"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_byte_order_mark_is_refused(load: Loader, tmp_path: Path, encoding: str, name: str) -> None:
    rows = [json.dumps({"text": f"café {row}", "label": row % 2}) for row in range(20)]
    contents = {
        ".csv": "\n".join(["text,label", *reviews(20)]),
        ".jsonl": "\n".join(rows),
        ".json": f"[{','.join(rows)}]",
    }
    path = tmp_path / name
    path.write_bytes(contents[path.suffix].encode(encoding))
    with pytest.raises(ValueError, match=f"{name} .*UTF-16 .*--encoding {encoding}"):
        load(path)
    assert len(texts_in(load(path, encoding=encoding))) == 20


def test_error_about_undecodable_rows_suggests_an_encoding_but_not_skipping(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"caf\u00e9 {row},{row % 2}".encode("cp1252") for row in range(40)]
    with pytest.raises(BadRowsError, match=in_order("40 bad rows of 40: ", "--encoding cp1252")) as caught:
        load(write_csv(*lines))
    assert "skip" not in str(caught.value)
    with pytest.raises(ValueError, match=in_order("'latin1000'", "latin-1")):
        load(write_csv(*lines), encoding="latin1000")


def test_truncated_utf16_is_refused(load: Loader, tmp_path: Path) -> None:
    content = "\n".join(["text,label", *(f"text {row},{row % 2}" for row in range(40))]).encode("utf-16")
    (tmp_path / "reviews.csv").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"reviews\.csv .* utf-16 .* line 40 .*--encoding"):
        load(tmp_path / "reviews.csv")


def test_lines_counts_lines_and_records_undecoded_bytes(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"one\r\ncaf\xe9\n\nlast")
    lines = Lines(tmp_path / "rows")
    # The second call of pop_undecoded for a line returns False, because the first call has reset the record.
    states = [
        (content, lines.line_number, lines.last_content, lines.pop_undecoded(), lines.pop_undecoded())
        for content in lines
    ]
    assert states == [
        ("one\r\n", 1, "one\r\n", False, False),
        ("caf\udce9\n", 2, "caf\udce9\n", True, False),
        ("\n", 3, "\n", False, False),
        ("last", 4, "last", False, False),
    ]
    assert list(lines)[1] == "caf\udce9\n"  # each pass begins at the first line
    assert [has_undecoded(text) for text in ("caf\udce9", "caf\xe9", "cafe", "\ud83d")] == [True, False, False, False]


def test_open_text_closes_a_refused_file(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes("text".encode("utf-16-be"))
    with pytest.raises(ValueError, match="--encoding utf-16-be"):
        open_text(tmp_path / "rows")
    with open_text(tmp_path / "rows", "utf-16-be") as file:
        assert file.read() == "text"
