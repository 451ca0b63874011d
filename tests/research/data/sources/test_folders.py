"""Which file of a folder is which split: read or refused, never ignored."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.research.data.conftest import Loader, WriteCsv, WriteJsonl, reviews


def write_shards(write_csv: WriteCsv, names: list[str]) -> Path:
    for name in names:
        rows = [f"{name} row {row},label {row % 2}" for row in range(10)]
        folder = write_csv(*rows, name=f"data/{name}").parent
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test.csv.lz4", "named like the test split.*'.csv.lz4' cannot be read"),
        ("test.xml.gz", "named like the test split.*'.xml.gz' cannot be read"),
        ("test.gz", "named like the test split.*'.gz' cannot be read"),
        ("TEST.xls", "named like the test split.*'.xls' cannot be read"),
        ("dev", "named like the validation split.*'' cannot be read"),
        ("test-00000-of-00001.arrow", "named like the test split.*'.arrow' cannot be read"),
        ("reviews.csv.gz", "not clear which split"),
    ],
)
def test_unreadable_split_file_is_refused(load: Loader, write_csv: WriteCsv, name: str, message: str) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / name).write_bytes(gzip.compress(b"text,label\nx,y\n"))
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_dangling_link_named_like_a_split_is_refused(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / "test.csv").symlink_to(folder / "gone.csv")
    with pytest.raises(ValueError, match=r"named like the test split.*gone.csv', which does not exist"):
        load(folder)


SPARK = "-0a1b2c3d-0000-1111-2222-333344445555-c000.csv"


@pytest.mark.parametrize(
    "names",
    [
        ["b.csv"],
        ["test.csv"],
        ["b.CSV", "README.md", ".b.csv.crc", "_SUCCESS"],
        ["test-0-of-2.csv", "test-1-of-2.csv"],
        ["0.csv", "1.csv"],
        ["part-00000" + SPARK, "part-00001" + SPARK],
        [f"v2-{number}.csv" for number in range(1, 12)],
    ],
)
def test_folder_named_like_a_split_is_read_as_that_split(load: Loader, write_csv: WriteCsv, names: list[str]) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    for number, name in enumerate(names):
        write_csv(f"only in test {number},label 1", name=f"data/test/{name}")
    splits = load(folder)
    data = [name for name in names if name.lower().endswith(".csv")]
    assert list(splits.test["text"]) == [f"only in test {number}" for number in range(len(data))]
    assert splits.files["test"] == [(f"test/{name}", number) for number, name in enumerate(data)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["test/a.csv", "test/b.csv"], "test split has several files that are not one series: a.csv, b.csv"),
        (["test/0.csv", "test/2.csv"], "several files that are not one series"),
        (["test/0.csv", "test/1.tsv"], "several files that are not one series"),
        (["test/test-0-of-3.csv", "test/test-2-of-3.csv"], "lack number 1"),
        (["test/b.csv", "test/b.xls"], "'b.xls' cannot be used"),
        (["test/pos/b.csv"], "'pos' cannot be used: it is a folder"),
        (["test/notes.md"], "'.*test' is named like the test split, but has no data"),
        (["test/b.csv", "test.csv"], "more than one test file: test, test.csv"),
        (["val/b.csv", "dev/b.csv"], "more than one validation file: dev, val"),
    ],
)
def test_folder_named_like_a_split_is_refused_unless_it_is_clear(
    load: Loader, write_csv: WriteCsv, names: list[str], message: str
) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    for name in names:
        write_csv(*reviews(10), name=f"data/{name}")
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_splits_may_all_be_folders(load: Loader, write_csv: WriteCsv) -> None:
    write_csv(*reviews(20), name="data/train/a.csv")
    write_csv(*reviews(6), name="data/validation/a.csv")
    folder = write_csv(*reviews(4), name="data/test/a.csv").parent.parent
    assert [len(split) for _, split in load(folder).items()] == [20, 6, 4]


@pytest.mark.parametrize("name", ["validation/a.csv", "test.csv", "dev.json"])
def test_splits_beside_folders_of_reviews_are_not_ignored(load: Loader, write_csv: WriteCsv, name: str) -> None:
    for number, path in enumerate(f"{sentiment}/{number}_1.txt" for sentiment in ("pos", "neg") for number in range(9)):
        write_csv(header=f"review {number}", name=f"data/train/{path}")
    folder = write_csv(header="notes", name="data/README").parent
    assert sum(len(split) for _, split in load(folder).items()) == 18
    write_csv(*reviews(4), name=f"data/{name}")
    with pytest.raises(ValueError, match=f"beside which {Path(name).parts[0]} would not be read"):
        load(folder)


def test_scripts_and_notes_named_like_a_split_are_reported_and_left_alone(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / "train.py").write_text("pass")
    (folder / "README.md").write_text("x")
    for _ in range(2):  # prepared, and from the cache
        load(folder)
        assert [line for line in load.said if "train.py" in line and "README" not in line]


def test_splits_in_a_folder_beside_others_are_reported(load: Loader, write_csv: WriteCsv) -> None:
    for name in ("train.csv", "held out/test.csv", "held out/train.csv", "held out/test.md"):
        write_csv(*reviews(40), name=f"data/{name}")
    load(write_csv(*reviews(10), name="data/validation.csv").parent)
    assert [line for line in load.said if line.startswith("Warning: ") and line.endswith(" itself: held out/test.csv.")]


def test_files_beside_the_splits_are_reported_if_they_may_be_data(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    for name in ("dataset_infos.json", "raw.zip", "._train.csv", ".gitattributes", "train.py"):
        (folder / name).write_text("{}")
    load(folder)
    assert any(line.startswith("Not read") and "dataset_infos.json, raw.zip" in line for line in load.said)
    (folder / "test_data.xls").write_text("{}")
    write_csv(*reviews(4), name="data/tests/b.csv")
    (folder / "pictures").mkdir()
    load(folder)
    (line,) = [line for line in load.said if ": dataset_infos.json, raw.zip, test_data.xls, tests/ (in " in line]
    assert line.startswith("Warning: ")
    assert not [said for said in load.said if "._train" in said]


def test_empty_folder_that_is_named_like_a_split_is_refused(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_csv(*reviews(40), name="data/train.csv").parent
    (folder / "test").mkdir()
    with pytest.raises(ValueError, match=r"test' is named like the test split, but has no data"):
        load(folder)


def test_file_that_is_one_of_several_is_read_with_a_warning(load: Loader, write_csv: WriteCsv) -> None:
    folder = write_shards(write_csv, [f"train-{number}-of-2.csv" for number in range(2)])
    load(folder / "train-0-of-2.csv")
    assert any("is one of 2 files; only this one is read" in line for line in load.said)
    load(folder)
    assert not any("only this one is read" in line for line in load.said)


def test_shards_are_joined_in_the_order_of_their_numbers(load: Loader, write_csv: WriteCsv) -> None:
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
def test_incomplete_shards_are_refused(load: Loader, write_csv: WriteCsv, names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(write_shards(write_csv, names))


def test_shards_may_count_from_one_and_carry_a_hash(load: Loader, write_csv: WriteCsv) -> None:
    names = ["train-1-of-2.csv", "train-2-of-2.csv", "test-00000-of-00001-0123456789abcdef.csv"]
    splits = load(write_shards(write_csv, names))
    assert len(splits.train) + len(splits.validation) == 20
    assert len(splits.test) == 10


@pytest.mark.parametrize("name", ["imdb", "rotten_tomatoes"])
def test_packaged_name_beside_a_folder_of_that_name_is_reported(
    load: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    load(name, limit_train=20)
    assert not [line for line in load.said if "./" in line]
    Path(name).mkdir()
    load(name, limit_train=20)  # the cache has it already
    assert [line for line in load.said if f"--data ./{name}" in line]


@pytest.mark.parametrize("spec", ["~nosuchuser/train.csv", "x" * 5000, "a" * 300 + ".csv", "nul\0byte.csv"])
def test_paths_that_cannot_be_looked_up_are_refused_in_one_line(load: Loader, spec: str) -> None:
    with pytest.raises(ValueError, match=r"Cannot read|no file or folder") as caught:
        load(spec)
    assert "\n" not in str(caught.value)


NOBODY = 65534
"""A user without any rights; root could read every folder."""


def test_unreadable_folder_is_refused(load: Loader, write_csv: WriteCsv) -> None:
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


def test_ids_lead_to_file_and_row_over_shards_with_blank_lines_and_bad_rows(
    load: Loader, write_jsonl: WriteJsonl
) -> None:
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
        assert splits.place_of("test", ids[f"{name} 10"]) == f"{name}, row 11"


def clone(write_csv: WriteCsv, *data: str) -> Path:
    """Make what `git clone` makes of a data repository."""
    for name in data:
        write_csv(*[f"{name} {row},label {row % 2}" for row in range(20)], name=f"repository/{name}")
    for name in ("README.md", ".gitattributes", ".git/config", "assets/plot.png"):
        root = write_csv(name=f"repository/{name}")
    return root.parents[1]


@pytest.mark.parametrize("config", ["data", "plain_text", "data/en"])
def test_cloned_repository_is_read(load: Loader, write_csv: WriteCsv, config: str) -> None:
    folder = clone(write_csv, f"{config}/train-00000-of-00001.csv", f"{config}/test-00000-of-00001.csv")
    splits = load(folder)
    assert len(splits.train) + len(splits.validation) == len(splits.test) == 20
    assert splits.files["test"] == [(f"{config}/test-00000-of-00001.csv", 0)]
    assert f"The data of {folder} are those in {config}/." in load.said
    assert set(load(folder / config).test["text"]) == set(splits.test["text"])


@pytest.mark.parametrize("parent", ["", "data/"])
def test_cloned_repository_of_several_configurations_is_refused_with_their_names(
    load: Loader, write_csv: WriteCsv, parent: str
) -> None:
    folder = clone(write_csv, f"{parent}en/train-0-of-1.csv", f"{parent}fr/train/0000.csv")
    with pytest.raises(ValueError, match=rf"more than one data set: {parent}en, {parent}fr.* --data '.*/{parent}en'"):
        load(folder)
    assert len(load(folder / parent / "fr").train)


@pytest.mark.parametrize("name", ["test-0-of-1.parquet", "test.csv", "test.json.gz", "test.zip", "test/a.tsv"])
def test_git_lfs_pointer_is_refused_with_the_command_that_fetches_it(
    load: Loader, write_csv: WriteCsv, name: str
) -> None:
    folder = clone(write_csv, "data/train-0-of-1.csv")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345"
    path = write_csv(header=pointer, name=f"repository/data/{name}")
    for spec in (folder, path):
        with pytest.raises(ValueError, match=rf"{path.name} is a Git LFS pointer.*`git lfs pull`"):
            load(spec)


def test_shards_of_other_splits_are_reported_as_not_used(load: Loader, write_csv: WriteCsv) -> None:
    others = [f"plain_text/{name}-of-2.csv" for name in ("unsupervised-0", "unsupervised-1", "extra-0")]
    folder = clone(write_csv, "plain_text/train-0-of-1.csv", "plain_text/test-0-of-1.csv", *others)
    load(folder)
    assert [line for line in load.said if line.endswith("plain_text that are not used: extra, unsupervised.")]
    (folder / "plain_text" / "train-0-of-1.csv").unlink()
    (folder / "plain_text" / "test-0-of-1.csv").unlink()
    with pytest.raises(ValueError, match="not clear which split"):
        load(folder / "plain_text")
