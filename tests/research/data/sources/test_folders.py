"""Read folders of splits. Files that are named after splits are read or refused, and never silently ignored."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from research.data.sources.folders import find_named_split, may_hold_split
from tests.messages import in_order
from tests.research.data.conftest import Loader, WriteCsv, reviews


def write_shards(write_csv: WriteCsv, names: list[str]) -> Path:
    """Write a file of ten rows for each name, and return the folder that contains the files."""
    for name in names:
        rows = [f"{name} row {row},label {row % 2}" for row in range(10)]
        folder = write_csv(*rows, name=f"data/{name}").parent
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test.csv.lz4", "test split.*'.csv.lz4' "),
        ("test.xml.gz", "test split.*'.xml.gz' "),
        ("test.gz", "test split.*'.gz' "),
        ("TEST.xls", "test split.*'.xls' "),
        ("dev", "validation split.*'' "),
        ("test-00000-of-00001.arrow", "test split.*'.arrow' "),
        ("reviews.csv.gz", "which split .*reviews.csv.gz'"),
    ],
)
def test_file_that_is_unreadable_or_has_no_split_is_refused(
    load: Loader, write_csv: WriteCsv, name: str, message: str
) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / name).write_bytes(gzip.compress(b"text,label\nx,y\n"))
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_dangling_link_named_after_a_split_is_refused(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / "test.csv").symlink_to(folder / "gone.csv")
    with pytest.raises(ValueError, match=in_order("test.csv'", "test split", "gone.csv'")):
        load(folder)


SPARK_SUFFIX = "-0a1b2c3d-0000-1111-2222-333344445555-c000.csv"
"""End of the file names that Apache Spark writes."""


@pytest.mark.parametrize(
    "names",
    [
        ["b.csv"],
        ["test.csv"],
        ["b.CSV", "README.md", ".b.csv.crc", "_SUCCESS"],
        ["test-0-of-2.csv", "test-1-of-2.csv"],
        ["0.csv", "1.csv"],
        ["part-00000" + SPARK_SUFFIX, "part-00001" + SPARK_SUFFIX],
        [f"v2-{number}.csv" for number in range(1, 12)],
    ],
)
def test_folder_named_after_a_split_is_read_as_that_split(load: Loader, write_csv: WriteCsv, names: list[str]) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    for number, name in enumerate(names):
        write_csv(f"only in test {number},label 1", name=f"data/test/{name}")
    splits = load(folder)
    data_files = [name for name in names if name.lower().endswith(".csv")]
    assert list(splits.test["text"]) == [f"only in test {number}" for number in range(len(data_files))]
    # Each file is listed with the id of its first row. Here, every file has a single row.
    assert splits.files["test"] == [(f"test/{name}", number) for number, name in enumerate(data_files)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["test/a.csv", "test/b.csv"], "test split .*: a.csv, b.csv"),
        (["test/0.csv", "test/2.csv"], "test split .*: 0.csv, 2.csv"),
        (["test/0.csv", "test/1.tsv"], "test split .*: 0.csv, 1.tsv"),
        (["test/test-0-of-3.csv", "test/test-2-of-3.csv"], "lack number 1"),
        (["test/b.csv", "test/b.xls"], "test split, .*'b.xls' .*'.xls' .*csv"),
        (["test/pos/b.csv"], "test split, .*'pos' .* is a folder"),
        (["test/notes.md"], "test' .* test split, .* no data"),
        (["test/b.csv", "test.csv"], "more than one test file: test, test.csv"),
        (["val/b.csv", "dev/b.csv"], "more than one validation file: dev, val"),
    ],
)
def test_ambiguous_or_unusable_folder_named_after_a_split_is_refused(
    load: Loader, write_csv: WriteCsv, names: list[str], message: str
) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    for name in names:
        write_csv(*reviews(10), name=f"data/{name}")
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_scripts_named_after_a_split_are_reported_and_ignored(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / "train.py").write_text("pass")
    (folder / "README.md").write_text("x")
    for _ in range(2):  # the second call reads the cache
        load(folder)
        assert [line for line in load.messages if "train.py" in line and "README" not in line]


def test_nested_splits_that_are_not_read_are_reported(load: Loader, write_csv: WriteCsv) -> None:
    for name in ("train.csv", "held out/test.csv", "held out/train.csv", "held out/test.md"):
        write_csv(*reviews(40), name=f"data/{name}")
    folder = write_csv(*reviews(10), name="data/validation.csv").parent
    load(folder)
    # The folder itself has files for the training and the validation split, but not for the test split.
    assert load.reported("Warning:", f"{folder} ", ": held out/test.csv.")


def test_files_that_may_be_data_but_are_not_read_are_reported(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    for name in ("dataset_infos.json", "raw.zip", "._train.csv", ".gitattributes", "train.py"):
        (folder / name).write_text("{}")
    load(folder)
    assert any(line.startswith("Not read") and "dataset_infos.json, raw.zip" in line for line in load.messages)
    (folder / "test_data.xls").write_text("{}")
    write_csv(*reviews(4), name="data/tests/b.csv")
    (folder / "pictures").mkdir()
    load(folder)
    (line,) = [line for line in load.messages if ": dataset_infos.json, raw.zip, test_data.xls, tests/ (in " in line]
    assert line.startswith("Warning: ")
    assert not [line for line in load.messages if "._train" in line]


def test_empty_folder_named_after_a_split_is_refused(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / "test").mkdir()
    with pytest.raises(ValueError, match=in_order("data/test'", "test split", "no data", ".csv")):
        load(folder)


def test_single_shard_is_read_with_a_warning(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_shards(write_csv, [f"train-{number}-of-2.csv" for number in range(2)])
    load(folder / "train-0-of-2.csv")
    assert load.reported("Warning:", "train-0-of-2.csv", "2 shards", f"--data {folder}")
    load(folder)
    assert not load.reported("2 shards")


def test_shards_are_read_in_numerical_order(load: Loader, write_csv: WriteCsv) -> None:
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
        (["train-0-of-2.csv", "train-00-of-2.csv", "train-1-of-2.csv"], "duplicate numbers"),
        (["train-0-of-2.csv", "train-1-of-3.csv"], "more than one train file"),
    ],
)
def test_incomplete_or_inconsistent_shards_are_refused(
    load: Loader, write_csv: WriteCsv, names: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_shards(write_csv, names))


def test_shard_numbers_can_start_at_one_and_names_can_contain_a_hash(load: Loader, write_csv: WriteCsv) -> None:
    names = ["train-1-of-2.csv", "train-2-of-2.csv", "test-00000-of-00001-0123456789abcdef.csv"]
    splits = load(write_shards(write_csv, names))
    assert len(splits.train) + len(splits.validation) == 20
    assert len(splits.test) == 10


def test_may_hold_split_requires_the_name_of_a_split_and_possible_data(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    assert not may_hold_split(tmp_path / "test")  # an empty folder
    (tmp_path / "test" / ".hidden").touch()
    assert not may_hold_split(tmp_path / "test")
    (tmp_path / "test" / "a.csv").touch()
    names = ("test", "train.csv", "Dev-0-of-2.csv.gz", "val", "train.py", "test.md", "testing.csv", "more.csv")
    assert [name for name in names if may_hold_split(tmp_path / name)] == list(names[:4])
    assert [find_named_split(Path(name)) for name in ("DEV-0-of-2.csv.gz", "training.json", "tests")] == [
        "validation",
        "train",
        None,
    ]
