"""Which file of a folder is which split: read or refused, never ignored."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from .conftest import reviews


def write_shards(write_csv, names: list[str]) -> Path:
    for name in names:
        rows = [f"{name} row {row},label {row % 2}" for row in range(10)]
        folder = write_csv(*rows, name=f"data/{name}").parent
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test.csv.gz", "named like the test split.*'.csv.gz' cannot be read"),
        ("test.json", "named like the test split.*'.json' cannot be read"),
        ("TEST.xlsx", "named like the test split.*'.xlsx' cannot be read"),
        ("dev", "named like the validation split.*'' cannot be read"),
        ("test-00000-of-00001.arrow", "named like the test split.*'.arrow' cannot be read"),
        ("reviews.csv.gz", "not clear which split"),
    ],
)
def test_unreadable_split_file_is_refused(load, write_csv, name: str, message: str) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / name).write_bytes(gzip.compress(b"text,label\nx,y\n"))
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_dangling_link_named_like_a_split_is_refused(load, write_csv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / "test.csv").symlink_to(folder / "gone.csv")
    with pytest.raises(ValueError, match=r"named like the test split.*gone.csv', which does not exist"):
        load(folder)


def test_folder_named_like_a_split_is_refused(load, write_csv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    write_csv(*reviews(10), name="data/test/b.csv")
    with pytest.raises(ValueError, match=r"named like the test split.*it is a folder"):
        load(folder)


def test_scripts_and_notes_named_like_a_split_are_reported_and_left_alone(load, write_csv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / "train.py").write_text("pass")
    (folder / "README.md").write_text("x")
    for _ in range(2):  # prepared, and from the cache
        load(folder)
        assert [line for line in load.said if "train.py" in line and "README" not in line]


def test_shards_are_joined_in_the_order_of_their_numbers(load, write_csv) -> None:
    folder = write_shards(write_csv, [f"train-{number}-of-11.csv" for number in range(11)])
    splits = load(folder)
    rows = sorted((row["id"], row["text"]) for _, split in splits.items() for row in split)
    assert [text for _, text in rows] == [
        f"train-{number}-of-11.csv row {row}" for number in range(11) for row in range(10)
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-0-of-3.csv", "train-2-of-3.csv"], "lack number 1: expected 3"),
        (["train-1-of-3.csv", "train-3-of-3.csv"], "lack number 2: expected 3"),
        (["train-0-of-2.csv", "train-00-of-2.csv", "train-1-of-2.csv"], "have a number twice"),
        (["train-0-of-2.csv", "train-1-of-3.csv"], "more than one train file"),
    ],
)
def test_incomplete_shards_are_refused(load, write_csv, names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_shards(write_csv, names))


def test_shards_may_count_from_one_and_carry_a_hash(load, write_csv) -> None:
    names = ["train-1-of-2.csv", "train-2-of-2.csv", "test-00000-of-00001-0123456789abcdef.csv"]
    splits = load(write_shards(write_csv, names))
    assert len(splits.train) + len(splits.validation) == 20
    assert len(splits.test) == 10


@pytest.mark.parametrize("name", ["imdb", "rotten_tomatoes"])
def test_packaged_name_beside_a_folder_of_that_name_is_reported(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    load(name, limit_train=20)
    assert not [line for line in load.said if "./" in line]
    Path(name).mkdir()
    load(name, limit_train=20)  # the cache has it already
    assert [line for line in load.said if f"--data ./{name}" in line]


@pytest.mark.parametrize("spec", ["~nosuchuser/train.csv", "x" * 5000, "a" * 300 + ".csv", "nul\0byte.csv"])
def test_paths_that_cannot_be_looked_up_are_refused_in_one_line(load, spec: str) -> None:
    with pytest.raises(ValueError, match=r"Cannot read|no file or folder") as caught:
        load(spec)
    assert "\n" not in str(caught.value)


NOBODY = 65534
"""A user without any rights; root could read every folder."""


def test_unreadable_folder_is_refused(load, write_csv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(ValueError, match="Permission denied"):
            load(folder)
    finally:
        os.seteuid(user)
        folder.chmod(0o700)


def test_ids_lead_to_file_and_row_over_shards_with_blank_lines_and_bad_rows(load, write_jsonl) -> None:
    names = [f"test-{number}-of-3.jsonl" for number in range(3)]
    write_jsonl([{"text": f"train {row}", "label": row % 2} for row in range(40)], name="data/train.jsonl")
    for name in names:
        rows = [{"text": f"{name} {row}", "label": row % 2} for row in range(1, 11)]
        path = write_jsonl([*rows[:4], "", "", *rows[4:9], "broken", rows[9]], name=f"data/{name}")
    splits = load(path.parent, bad_rows="skip")
    assert splits.files["test"] == [(names[0], 0), (names[1], 11), (names[2], 22)]
    assert splits.files["validation"] == splits.files["train"] == [("train.jsonl", 0)]
    first_ids = dict(splits.files["test"])
    ids = {row["text"]: row["id"] for row in splits.test}
    assert len(set(ids.values())) == 30
    for name in names:
        rows_in_file = [*range(1, 10), 11]  # the tenth is broken
        assert [ids[f"{name} {row}"] - first_ids[name] + 1 for row in range(1, 11)] == rows_in_file
