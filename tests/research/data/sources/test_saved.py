"""Recognise and load folders that `save_to_disk` of the `datasets` library writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from research.data.sources.saved import is_saved_dataset, is_saved_dict, list_saved_files, load_saved, read_split_names
from research.system import user_code
from tests.messages import in_order
from tests.research.data.conftest import Loader

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})


def make_dataset(name: str, num_rows: int) -> Dataset:
    columns = {"text": [f"{name} {row}" for row in range(num_rows)], "label": [row % 2 for row in range(num_rows)]}
    return Dataset.from_dict(columns, FEATURES)


@pytest.fixture
def saved_dataset(tmp_path: Path) -> Path:
    """Return the folder of a saved data set of 40 rows."""
    make_dataset("train", 40).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_saved_dataset_is_recognised_by_its_files(saved_dataset: Path, tmp_path: Path) -> None:
    assert is_saved_dataset(saved_dataset)
    assert not is_saved_dataset(tmp_path)
    assert not is_saved_dict(saved_dataset)
    (saved_dataset / "state.json").unlink()
    assert is_saved_dataset(saved_dataset)  # a damaged data set is recognised too, so that the error can name it
    (saved_dataset / "subfolder").mkdir()
    assert [path.name for path in list_saved_files(saved_dataset)] == ["data-00000-of-00001.arrow", "dataset_info.json"]


def test_saved_dict_splits_are_listed(tmp_path: Path) -> None:
    DatasetDict(train=make_dataset("train", 4), rest=make_dataset("rest", 2)).save_to_disk(tmp_path)
    assert is_saved_dict(tmp_path)
    assert read_split_names(tmp_path) == ["train", "rest"]
    loaded = load_saved(tmp_path / "rest")
    assert (loaded["text"][:], loaded.features) == (["rest 0", "rest 1"], FEATURES)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b'{"splits": ["train", "test"]}', ": test."),
        (b'{"splits": ["test"]}', ": test."),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_saved_dict_with_an_unreadable_list_of_splits_or_missing_splits_is_refused(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    DatasetDict(train=make_dataset("train", 4)).save_to_disk(tmp_path)
    (tmp_path / "dataset_dict.json").write_bytes(content)
    with pytest.raises(ValueError, match=in_order(tmp_path / "dataset_dict.json", expected)) as caught:
        read_split_names(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", None),
        ("state.json", b"{"),
        ("data-00001-of-00002.arrow", None),
        ("data-00001-of-00002.arrow", b"half"),
        ("data-00001-of-00002.arrow", b"version https://git-lfs.github.com/spec/v1\n"),
    ],
)
def test_damaged_saved_dataset_is_refused_with_a_one_line_message(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    make_dataset("train", 40).save_to_disk(tmp_path / "saved", num_shards=2)
    path = tmp_path / "saved" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    expected = (path, "git lfs pull") if content and content.startswith(b"version") else (f"'{path.parent}'", "Save")
    with pytest.raises(ValueError, match=in_order(*expected)) as caught:
        load_saved(tmp_path / "saved")
    assert "\n" not in str(caught.value)


def test_saved_dataset_with_invalid_offsets_is_refused(load: Loader, saved_dataset: Path) -> None:
    (file,) = saved_dataset.glob("*.arrow")
    content = bytearray(file.read_bytes())
    lengths = [len(f"train {row}") for row in range(40)]
    start = content.index(np.cumsum(lengths, dtype=np.int32).tobytes())  # position of the ends of the texts
    content[start + 40 : start + 44] = np.int32(2**30).tobytes()  # an offset beyond the end of the texts
    file.write_bytes(content)
    with pytest.raises(ValueError, match=in_order(f"'{saved_dataset}'", "offset")) as caught:
        load(saved_dataset)
    assert user_code.describe(caught.value) is None  # compiled library code is not user code


@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_saved_dataset_with_a_missing_or_special_file_is_refused(
    load: Loader, saved_dataset: Path, replace: Callable[[Path], None], reason: str
) -> None:
    (file,) = saved_dataset.glob("*.arrow")
    file.unlink()
    replace(file)
    with pytest.raises(ValueError, match=in_order(saved_dataset, reason)) as caught:
        load(saved_dataset)
    assert "rrno" not in str(caught.value)  # neither "Errno" nor "errno"
