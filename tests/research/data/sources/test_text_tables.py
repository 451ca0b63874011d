"""Separators, quotes, encodings and headers of the text files that people have."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research.data.prepare.load import Splits
from research.data.sources.bad_rows import BadRowsError
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews

ROWS = [(f"review {row}; good | bad", f"label {row % 2}") for row in range(40)]


def texts(splits: Splits) -> set[str]:
    return {text for _, split in splits.items() for text in split["text"]}


def write(path: Path, rows: list[tuple[str, str]], **options: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows([("text", "label"), *rows])
    return path


@pytest.mark.parametrize("separator", [";", "|"])
def test_other_separators_are_found_and_reported(load: Loader, tmp_path: Path, separator: str) -> None:
    splits = load(write(tmp_path / "reviews.csv", ROWS, delimiter=separator))
    assert texts(splits) == {text for text, _ in ROWS}
    assert f"The columns of reviews.csv are separated by '{separator}'." in load.said


QUOTED = [('he said "hi" to me', "a"), ("a tab\there", "b"), ("plain", "a"), ('"Hello."', "b")] * 10


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_tsv_of_a_program_that_quotes_loses_its_quotes(load: Loader, tmp_path: Path, quoting: int) -> None:
    rows = [(f"{row} {text}", label) for row, (text, label) in enumerate(QUOTED)]
    path = write(tmp_path / "reviews.tsv", rows, delimiter="\t", quoting=quoting)
    splits = load(path)
    assert texts(splits) == {text for text, _ in rows}
    assert splits.task.label_names == ("a", "b")
    assert any("enclose fields (--quoting)" in line for line in load.said)


def test_all_quoted_tsv_without_need_loses_its_quotes(load: Loader, tmp_path: Path) -> None:
    splits = load(write(tmp_path / "reviews.tsv", ROWS, delimiter="\t", quoting=csv.QUOTE_ALL))
    assert texts(splits) == {text for text, _ in ROWS}


@pytest.mark.parametrize("odd", ['he said "hi"', '"Hello," he said', '"Hello, whole"', '5" screen', '"open'])
def test_tsv_with_quotes_as_characters_keeps_them(load: Loader, write_csv: WriteCsv, odd: str) -> None:
    lines = [f"review {row}\tlabel {row % 2}" for row in range(40)]
    splits = load(write_csv(*lines, f"{odd}\tlabel 1", name="reviews.tsv", header="text\tlabel"))
    assert odd in texts(splits)
    assert any("are ordinary characters (--quoting)" in line for line in load.said)


@pytest.mark.parametrize("odd", ['"tis the season\ta', '5" screen\tb', '"Hello," he said\ta'])
def test_one_odd_quote_does_not_change_how_a_quoted_tsv_is_read(load: Loader, tmp_path: Path, odd: str) -> None:
    rows = [(f"{row} {text}", label) for row, (text, label) in enumerate(QUOTED)]
    path = write(tmp_path / "reviews.tsv", rows, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:11], f"{odd}\n", *lines[11:]]))
    with pytest.raises(ValueError, match=r"Whether quotes in reviews\.tsv enclose fields is not clear: 20 .* line 12 "):
        load(path)


@pytest.mark.parametrize(("name", "separator"), [("reviews.tsv", "\t"), ("reviews.csv", ",")])
def test_quotes_after_a_backslash_are_answered_with_what_to_do_in_r(
    load: Loader, tmp_path: Path, name: str, separator: str
) -> None:
    lines = [f'"he said \\"hi\\" {row}"{separator}"label {row % 2}"' for row in range(20)]
    (tmp_path / name).write_text("\n".join([f'"text"{separator}"label"', *lines]) + "\n")
    with pytest.raises(ValueError, match=r'qmethod = "double"'):
        load(tmp_path / name)


def test_quoting_can_be_set(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"review {row}\tlabel {row % 2}" for row in range(40)]
    path = write_csv(*lines, '"Hello."\tlabel 1', name="reviews.tsv", header="text\tlabel")
    assert "Hello." in texts(load(path, quoting="csv"))
    assert '"Hello."' in texts(load(path, quoting="none"))
    path = write_csv(*[line.replace("\t", ",") for line in lines], '"open,label 1')
    assert '"open' in texts(load(path, quoting="none"))


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
def test_other_encodings_are_read(load: Loader, tmp_path: Path, encoding: str, name: str) -> None:
    rows = [f"café {row}" for row in range(40)]
    lines = ["text,label", *(f"{text},{number % 2}" for number, text in enumerate(rows))]
    if name.endswith("jsonl"):
        lines = [f'{{"text": "{text}", "label": {number % 2}}}' for number, text in enumerate(rows)]
    (tmp_path / name).write_bytes("\n".join(lines).encode(encoding))
    settings = {"encoding": encoding} if encoding == "cp1252" else {}
    assert texts(load(tmp_path / name, **settings)) == set(rows)


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-16-le"])
def test_byte_order_mark_is_no_text_where_the_encoding_is_named(
    load: Loader, tmp_path: Path, encoding: str, name: str
) -> None:
    lines = [json.dumps({"text": f"review {row}", "label": row % 2}) for row in range(20)]
    content = "\n".join(["text,label", *reviews(20)] if name.endswith(".csv") else lines)
    (tmp_path / name).write_bytes(f"\ufeff{content}".encode(encoding))
    splits = load(tmp_path / name, encoding=encoding, text_column="text")
    assert sum(len(split) for _, split in splits.items()) == 20


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl", "reviews.json"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_answered_with_its_name(load: Loader, tmp_path: Path, encoding: str, name: str) -> None:
    rows = [json.dumps({"text": f"café {row}", "label": row % 2}) for row in range(20)]
    forms = {".csv": "\n".join(["text,label", *reviews(20)]), ".jsonl": "\n".join(rows), ".json": f"[{','.join(rows)}]"}
    path = tmp_path / name
    path.write_bytes(forms[path.suffix].encode(encoding))
    with pytest.raises(ValueError, match=f"{name} looks like UTF-16 .*--encoding {encoding}"):
        load(path)
    assert len(texts(load(path, encoding=encoding))) == 20


@pytest.mark.parametrize("encoding", ["rot13", "base64", "utf-88"])
def test_encoding_of_something_else_than_text_is_refused(load: Loader, write_csv: WriteCsv, encoding: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown encoding '{encoding}'"):
        load(write_csv(*reviews(20)), encoding=encoding)


def test_file_of_another_encoding_is_answered_with_the_setting_and_not_with_skipping(
    load: Loader, write_csv: WriteCsv
) -> None:
    lines = [f"caf\u00e9 {row},{row % 2}".encode("cp1252") for row in range(40)]
    with pytest.raises(BadRowsError, match=r"40 bad rows of 40: .*--encoding cp1252") as caught:
        load(write_csv(*lines))
    assert "skip" not in str(caught.value)
    with pytest.raises(ValueError, match="Unknown encoding 'latin1000'"):
        load(write_csv(*lines), encoding="latin1000")


def test_truncated_utf16_is_one_line(load: Loader, tmp_path: Path) -> None:
    content = "\n".join(["text,label", *(f"text {row},{row % 2}" for row in range(40))]).encode("utf-16")
    (tmp_path / "reviews.csv").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"reviews.csv is not valid utf-16"):
        load(tmp_path / "reviews.csv")


def test_columns_without_a_header_get_their_names(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"review {row},label {row % 2}" for row in range(39)]
    splits = load(write_csv(*lines, header="the first,label 1"), columns=["text", "label"])
    assert "the first" in texts(splits)
    assert sum(len(split) for _, split in splits.items()) == 40
    with pytest.raises(ValueError, match=r"Expected as many --columns as reviews.csv has in its first line, 2; got 1"):
        load(write_csv(*lines), columns=["text"])


def test_columns_without_names_are_left_alone(load: Loader, write_csv: WriteCsv) -> None:
    lines = [f"{row},review {row},{row % 2}," for row in range(40)]
    assert len(texts(load(write_csv(*lines, header=",text,label,")))) == 40


def test_settings_of_text_files_are_reported_where_no_file_is_read_with_them(
    load: Loader, write_csv: WriteCsv, write_jsonl: WriteJsonl
) -> None:
    rows = [{"text": f"text {row}", "label": "pn"[row % 2]} for row in range(40)]
    settings = {"columns": ("text", "label"), "quoting": "none", "encoding": "utf-8"}
    pq.write_table(pa.Table.from_pylist(rows), parquet := write_csv(name="reviews.parquet"))
    unused = {}
    for path in (parquet, write_jsonl(rows), write_csv(*reviews(40), header="a text,p")):
        load(path, **settings)
        unused[path.suffix] = {name for name in settings if f"Warning: {name} has no effect" in " ".join(load.said)}
    assert unused == {".parquet": settings.keys(), ".jsonl": {"columns", "quoting"}, ".csv": set()}
