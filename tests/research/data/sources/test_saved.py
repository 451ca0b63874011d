"""Folders that `datasets` wrote with save_to_disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from research.data.prepare.load import Splits
from research.system import user_code
from tests.research.data.conftest import Loader
from tests.rights import modes_count

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})


def rows(name: str, count: int) -> Dataset:
    columns = {"text": [f"{name} {row}" for row in range(count)], "label": [row % 2 for row in range(count)]}
    return Dataset.from_dict(columns, FEATURES)


def labels(splits: Splits) -> dict[str, int]:
    return {row["text"]: row["label"] for _, split in splits.items() for row in split}


def test_saved_dataset_is_read_with_its_label_names(load: Loader, tmp_path: Path) -> None:
    rows("train", 40).select(range(39, -1, -1)).save_to_disk(tmp_path / "saved", num_shards=3)
    splits = load(tmp_path / "saved")
    assert splits.task.label_names == ("pos", "neg")
    assert labels(splits) == {f"train {row}": row % 2 for row in range(40)}
    assert min((row["id"], row["text"]) for _, split in splits.items() for row in split) == (0, "train 39")


def test_saved_dict_is_read_with_its_splits(load: Loader, tmp_path: Path) -> None:
    saved = DatasetDict(train=rows("train", 40), test=rows("test", 6), unsupervised=rows("rest", 4))
    saved.save_to_disk(tmp_path / "saved", num_shards={"train": 2, "test": 1, "unsupervised": 1})
    splits = load(tmp_path / "saved")
    assert splits.test["text"] == [f"test {row}" for row in range(6)]
    assert splits.task.label_names == ("pos", "neg")
    assert [line for line in load.said if line.endswith("not used: unsupervised.")]


def test_changed_files_of_a_saved_dict_are_prepared_anew(load: Loader, tmp_path: Path) -> None:
    DatasetDict(train=rows("old", 40), test=rows("test", 6)).save_to_disk(tmp_path / "saved")
    load(tmp_path / "saved")
    rows("new", 40).save_to_disk(tmp_path / "saved" / "train")
    assert "new 0" in labels(load(tmp_path / "saved"))


def test_saved_datasets_may_be_the_splits_of_a_folder(load: Loader, tmp_path: Path) -> None:
    rows("train", 40).save_to_disk(tmp_path / "data" / "train")
    rows("test", 6).save_to_disk(tmp_path / "data" / "test")
    splits = load(tmp_path / "data")
    assert splits.test["text"] == [f"test {row}" for row in range(6)]
    assert splits.files["test"] == [("test", 0)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dataset_dict.json", b"{", "does not name the splits as save_to_disk does"),
        ("dataset_dict.json", b"[]", "does not name the splits as save_to_disk does"),
        ("dataset_dict.json", b'{"splits": ["train", "test"]}', "not saved beside it: test"),
        ("dataset_dict.json", b'{"splits": ["test"]}', "not saved beside it: test"),
        ("train/state.json", None, "Cannot read the data set that was saved in '.*train'"),
        ("train/state.json", b"{", "Cannot read the data set that was saved in '.*train'"),
        ("train/data-00001-of-00002.arrow", None, "Cannot read the data set that was saved in '.*train'"),
        ("train/data-00001-of-00002.arrow", b"half", "Cannot read the data set that was saved in '.*train'"),
        ("train/data-00001-of-00002.arrow", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_damaged_saved_dict_is_refused_in_one_line(
    load: Loader, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    DatasetDict(train=rows("train", 40)).save_to_disk(tmp_path / "saved", num_shards={"train": 2})
    path = tmp_path / "saved" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "saved")
    assert "\n" not in str(caught.value)


def test_offsets_that_lead_out_of_the_file_are_refused(load: Loader, tmp_path: Path) -> None:
    rows("train", 40).save_to_disk(tmp_path / "saved")
    (file,) = (tmp_path / "saved").glob("*.arrow")
    content = bytearray(file.read_bytes())
    lengths = [len(f"train {row}") for row in range(40)]
    start = content.index(np.cumsum(lengths, dtype=np.int32).tobytes())
    content[start + 40 : start + 44] = np.int32(2**30).tobytes()
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"Cannot read the data set that was saved in .*offset.*Save it again"
    ) as caught:
        load(tmp_path / "saved")
    assert user_code.describe(caught.value) is None  # compiled parts of a library are not the user's code


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file or directory. Save it again"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (os.mkfifo, "is not a file"),
    ],
)
def test_missing_file_of_a_saved_dataset_is_refused(
    load: Loader, tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    rows("train", 40).save_to_disk(tmp_path / "saved")
    (file,) = (tmp_path / "saved").glob("*.arrow")
    file.unlink()
    make(file)
    with pytest.raises(ValueError, match=reason) as caught:
        load(tmp_path / "saved")
    assert str(tmp_path / "saved") in str(caught.value)
    assert "rrno" not in str(caught.value)


def test_folder_of_another_user_is_refused(load: Loader, tmp_path: Path) -> None:
    rows("train", 40).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved").chmod(0)
    with modes_count(), pytest.raises(ValueError, match="Permission denied") as caught:
        load(tmp_path / "saved")
    assert str(tmp_path / "saved") in str(caught.value)
    assert "dataset_dict" not in str(caught.value)
