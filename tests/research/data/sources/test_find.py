"""Every kind of file gives its rows, as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from research.data.prepare.load import Splits
from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews


def all_rows(splits: Splits) -> list[tuple[str, object]]:
    return sorted((row["text"], row["label"]) for _, split in splits.items() for row in split)


def test_csv_reads_quotes_commas_and_line_breaks(load: Loader, write_csv: WriteCsv) -> None:
    path = write_csv('"a ""b"", c",x', '"two\nlines",y', *reviews(40))
    rows = dict(all_rows(load(path)))
    assert {'a "b", c', "two\nlines"} <= rows.keys()


def test_csv_reads_a_text_of_five_megabytes(load: Loader, write_csv: WriteCsv) -> None:
    text = "long " * 1_000_000
    splits = load(write_csv(f'"{text}",x', *reviews(40), *reviews(40)))
    assert text in [row[0] for row in all_rows(splits)]


def test_csv_leaves_the_field_limit_of_the_process_alone(load: Loader, write_csv: WriteCsv) -> None:
    import csv

    before = csv.field_size_limit()
    load(write_csv(*reviews(40)))
    assert csv.field_size_limit() == before


def test_tsv_takes_quotes_literally(load: Loader, write_csv: WriteCsv) -> None:
    lines = ['"half a quote\tx', 'say "yes" ""\ty', *[line.replace(",", "\t") for line in reviews(40)]]
    rows = dict(all_rows(load(write_csv(*lines, name="reviews.tsv", header="text\tlabel"))))
    assert {'"half a quote', 'say "yes" ""'} <= rows.keys()


def test_jsonl_reads_escapes_and_skips_blank_lines(load: Loader, write_jsonl: WriteJsonl) -> None:
    rows: list[dict[str, Any]] = [{"text": f"café {row}", "label": row % 2} for row in range(40)]
    splits = load(write_jsonl([*rows[:20], "", *rows[20:]]))
    assert [text for text, _ in all_rows(splits)] == sorted(row["text"] for row in rows)
    assert splits.task.label_names == ("0", "1")


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_csv_reads_a_byte_order_mark_and_any_line_ending(load: Loader, tmp_path: Path, ending: str) -> None:
    path = tmp_path / "reviews.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ending.join(["text,label", *reviews(40)]).encode())
    assert len(all_rows(load(path))) == 40
    assert load(path).task.label_names == ("label 0", "label 1")


def test_parquet_keeps_the_label_names_it_declares(load: Loader, tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})
    rows = {"text": [f"review {row}" for row in range(40)], "label": [row % 2 for row in range(40)]}
    path = tmp_path / "reviews.parquet"
    Dataset.from_dict(rows, features).to_parquet(str(path))
    splits = load(path)
    assert splits.task.label_names == ("pos", "neg")
    assert dict(all_rows(splits))["review 1"] == 1


def test_parquet_keeps_declared_names_of_several_labels(load: Loader, tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=["z", "a"]))})
    rows = {"text": [f"review {row}" for row in range(40)], "labels": [[0], [0, 1], [], [1]] * 10}
    path = tmp_path / "reviews.parquet"
    Dataset.from_dict(rows, features).to_parquet(str(path))
    splits = load(path)
    assert splits.task.problem_type == "multi_label"
    assert splits.task.label_names == ("z", "a")
    assert dict(all_rows(splits))["review 1"] == [0, 1]
    assert dict(all_rows(splits))["review 2"] == []


def test_parquet_reads_dictionaries_and_large_strings(load: Loader, tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    texts = pa.array([f"review {row}" for row in range(40)]).cast(pa.large_string())
    labels = pa.array(["a", "b"] * 20).dictionary_encode()
    pq.write_table(pa.table({"id": list(range(40)), "body": texts, "label": labels}), path)
    assert load(path, text_column="body").task.label_names == ("a", "b")


def test_folder_takes_its_splits_under_all_their_names(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(6), name="data/Train.csv").parent
    write_csv(*reviews(4), name="data/dev.csv")
    write_csv("only in test,label 1", name="data/test.csv")
    (folder / "README.md").write_text("not data")
    splits = load(folder)
    assert [len(split) for _, split in splits.items()] == [6, 4, 1]
    assert list(splits.train["id"]) == list(range(6))
    assert splits.test[0] == {"id": 0, "text": "only in test", "label": 1}


def test_folder_joins_numbered_shards(load: Loader, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for shard in range(2):
        table = pa.table({"text": [f"shard {shard} row {row}" for row in range(20)], "label": ["a", "b"] * 10})
        pq.write_table(table, tmp_path / "data" / f"train-0000{shard}-of-00002.parquet")
    assert [text for text, _ in all_rows(load(tmp_path / "data"))] == sorted(
        f"shard {shard} row {row}" for shard in range(2) for row in range(20)
    )
