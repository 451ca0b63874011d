"""Rows of tensors are read from several files; indexes that do not describe the files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from research.system.indexed_tensors import IndexedTensors, open_tensors, path_of_index
from research.system.safetensors_file import TensorFile, write_tensors

WHOLE = torch.arange(15.0).reshape(5, 3)
INDEX: dict[str, Any] = {
    "split": {"dtype": "F32", "shape": [5, 3], "rows": {"a-1.safetensors": [2, 5], "a-0.safetensors": [0, 2]}},
    "number": {"dtype": "I64", "shape": [], "rows": {"a-0.safetensors": [0, 1]}},
    "empty": {"dtype": "F16", "shape": [0, 3], "rows": {}},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of a file with the tensors of INDEX, in place of which there are two files and the index."""
    write_tensors(tmp_path / "a-0.safetensors", {"split": WHOLE[:2], "number": torch.tensor(7)})
    write_tensors(tmp_path / "a-1.safetensors", {"split": WHOLE[2:]})
    write_index(tmp_path / "a.safetensors", INDEX)
    return tmp_path / "a.safetensors"


def write_index(path: Path, content: object) -> None:
    path_of_index(path).write_text(json.dumps(content))


def test_rows_are_read_from_the_files_that_contain_them(path: Path) -> None:
    with open_tensors(path) as tensors:
        assert tensors.names() == {"split", "number", "empty"}
        assert (tensors.shape("split"), tensors.dtype("number")) == ([5, 3], torch.int64)
        assert torch.equal(tensors.read("split"), WHOLE)
        assert torch.equal(tensors.read_rows("split", 1, 4), WHOLE[1:4])
        assert torch.equal(tensors.read_rows("split", 5, 5), WHOLE[:0])
        assert torch.equal(tensors.read("number"), torch.tensor(7))
        assert tensors.read("empty").shape == (0, 3)
        with pytest.raises(ValueError, match="other"):
            tensors.read("other")


def test_only_files_with_requested_rows_are_opened(path: Path) -> None:
    path.with_name("a-1.safetensors").unlink()
    with open_tensors(path) as tensors:
        assert torch.equal(tensors.read_rows("split", 0, 2), WHOLE[:2])
        with pytest.raises(OSError, match=r"a-1\.safetensors"):
            tensors.read("split")


def test_open_tensors_opens_single_files(path: Path) -> None:
    path_of_index(path).unlink()
    with pytest.raises(OSError, match=r"a\.safetensors"):
        open_tensors(path)
    write_tensors(path, {"b": WHOLE})
    with open_tensors(path) as tensors:
        assert isinstance(tensors, TensorFile)
        assert torch.equal(tensors.read_rows("b", 1, 3), WHOLE[1:3])
        assert tensors.read_rows("b", 3, 3).shape == (0, 3)


def changed(**values: object) -> dict[str, Any]:
    """Return an index in which the entry of the split tensor is changed."""
    return INDEX | {"split": INDEX["split"] | values}


@pytest.mark.parametrize(
    "index",
    {
        "overlap": changed(rows={"a-0.safetensors": [0, 3], "a-1.safetensors": [2, 5]}),
        "gap": changed(rows={"a-0.safetensors": [0, 2], "a-1.safetensors": [3, 5]}),
        "too few": changed(rows={"a-0.safetensors": [0, 2]}),
        "too many": changed(rows={"a-0.safetensors": [0, 2], "a-1.safetensors": [2, 6]}),
        "none": changed(rows={}),
        "reversed": changed(rows={"a-0.safetensors": [2, 0], "a-1.safetensors": [2, 5]}),
        "negative": changed(rows={"a-0.safetensors": [-1, 2], "a-1.safetensors": [2, 5]}),
        "not integers": changed(rows={"a-0.safetensors": [False, True], "a-1.safetensors": [1.0, 5]}),
        "folder above": changed(rows={"../a-0.safetensors": [0, 5]}),
        "absolute path": changed(rows={"/a-0.safetensors": [0, 5]}),
        "line break": changed(rows={"a-0.safetensors\n": [0, 5]}),
        "other file": changed(rows={"b-0.safetensors": [0, 5]}),
        "impossible shape": changed(shape=[2**62, 3], rows={"a-0.safetensors": [0, 2**62]}),
        "unknown type": changed(dtype="C64"),
        "no entry": INDEX | {"split": None},
        "list": [],
    }.items(),
    ids=lambda item: item[0],
)
def test_indexes_that_cannot_be_right_are_refused(path: Path, index: tuple[str, object]) -> None:
    write_index(path, index[1])
    with pytest.raises(ValueError, match=r"a\.parts\.json") as caught:
        open_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000], ids=["empty", "truncated", "nested"])
def test_indexes_that_are_not_json_are_refused(path: Path, text: str) -> None:
    path_of_index(path).write_text(text)
    with pytest.raises(ValueError, match=r"a\.parts\.json"):
        open_tensors(path)


@pytest.mark.parametrize(
    "values",
    [
        {"shape": [5, 4]},
        {"dtype": "F16"},
        {"rows": {"a-0.safetensors": [0, 3], "a-1.safetensors": [3, 5]}},
        {"shape": [3, 5], "rows": {"a-0.safetensors": [0, 3]}},
    ],
    ids=["columns", "type", "rows", "shape"],
)
def test_files_that_do_not_fit_the_index_are_refused(path: Path, values: dict[str, Any]) -> None:
    write_index(path, changed(**values))
    with open_tensors(path) as tensors, pytest.raises(ValueError, match=r"split .*a-0\.safetensors"):
        tensors.read("split")


def test_tensors_that_are_missing_in_a_file_are_refused(path: Path) -> None:
    write_tensors(path.with_name("a-1.safetensors"), {"other": WHOLE[2:]})
    with IndexedTensors(path) as tensors, pytest.raises(SafetensorError, match="split"):
        tensors.read("split")
