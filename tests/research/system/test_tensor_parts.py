"""Each process writes its rows of tensors; here a single process. tests/integration splits them over several."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from research.system.indexed_tensors import open_tensors, read_as_split
from research.system.process_group import ProcessGroup
from research.system.sharded_tensors import gather, is_sharded, local_part
from research.system.tensor_parts import own_parts, write_by_process, write_gathered

pytestmark = pytest.mark.sharding


@pytest.mark.parametrize("write", [write_gathered, write_by_process])
def test_written_tensors_are_read_whole_and_in_parts(split: Tensor, tmp_path: Path, write: Callable[..., None]) -> None:
    tensors = {
        "split": split,
        "whole": torch.ones(2, dtype=torch.int16),
        "number": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "no columns": torch.zeros(3, 0),
    }
    write(tmp_path / "a.safetensors", own_parts(tensors, is_main=True), ProcessGroup(0, 1))
    with open_tensors(tmp_path / "a.safetensors") as file:
        assert file.names() == tensors.keys()
        for name, tensor in tensors.items():
            read = file.read(name)
            assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(read, gather(tensor))
            assert torch.equal(file.read_part(name, tensor), local_part(tensor))
        assert torch.equal(gather(read_as_split(file, "split", split)), gather(split))
        assert not is_sharded(read_as_split(file, "split", torch.ones(1)))
        with pytest.raises(ValueError, match=r"\[3, 4\].*\[4, 3\]"):
            file.read_part("split", torch.zeros(3, 4))


def test_files_of_processes_have_an_index_of_rows(split: Tensor, tmp_path: Path) -> None:
    parts = own_parts({"a": split, "b": torch.tensor(1)}, is_main=True)
    write_by_process(tmp_path / "model.safetensors", parts, ProcessGroup(0, 1))
    assert {path.name for path in tmp_path.iterdir()} == {"model-0.safetensors", "model.parts.json"}
    assert json.loads((tmp_path / "model.parts.json").read_text()) == {
        "a": {"dtype": "F32", "shape": [4, 3], "rows": {"model-0.safetensors": [0, 4]}},
        "b": {"dtype": "I64", "shape": [], "rows": {"model-0.safetensors": [0, 1]}},
    }


def test_other_processes_write_no_whole_tensors(split: Tensor) -> None:
    parts = own_parts({"whole": torch.ones(2), "split": split}, is_main=False)
    assert parts["whole"].rows is None
    assert parts["split"].rows is not None


def test_copied_parts_do_not_change_with_the_tensors(split: Tensor) -> None:
    tensors = {"whole": torch.ones(2), "split": split}
    copied, shared = (own_parts(tensors, is_main=True, copy=copy) for copy in (True, False))
    for name, tensor in tensors.items():
        before = gather(tensor).clone()
        tensor.add_(1)
        rows, same_memory = copied[name].rows, shared[name].rows
        assert rows is not None
        assert same_memory is not None
        assert torch.equal(rows, before)
        assert torch.equal(same_memory, gather(tensor))


def test_tensors_that_are_not_split_by_rows_are_stored_whole(split: Tensor, tmp_path: Path) -> None:
    columns: Any = split
    from torch.distributed.tensor import Shard

    by_columns = columns.redistribute(placements=[Shard(1)])
    write_gathered(tmp_path / "a.safetensors", own_parts({"a": by_columns}, is_main=True), ProcessGroup(0, 1))
    with open_tensors(tmp_path / "a.safetensors") as file:
        assert torch.equal(file.read("a"), gather(split))


@pytest.mark.parametrize("write", [write_gathered, write_by_process])
def test_errors_while_writing_are_raised(split: Tensor, tmp_path: Path, write: Callable[..., None]) -> None:
    with pytest.raises(OSError, match="missing"):
        write(tmp_path / "missing" / "file", own_parts({"a": split}, is_main=True), ProcessGroup(0, 1))
    with pytest.raises(ValueError, match=r"mine .*complex64"):
        write(
            tmp_path / "file",
            own_parts({"mine": torch.zeros(2, dtype=torch.complex64)}, is_main=True),
            ProcessGroup(0, 1),
        )
