"""Safetensors files are written tensor by tensor, and other programs can read them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from research.system.safetensors_file import TYPE_NAMES, TensorFile, write_tensors


def test_written_files_equal_those_of_safetensors(tmp_path: Path) -> None:
    tensors = {f"of {name}": torch.arange(6).reshape(2, 3).to(dtype) for dtype, name in TYPE_NAMES.items()}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "not contiguous": torch.rand(3, 5).T}
    write_tensors(tmp_path / "mine", tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "theirs", {"format": "pt"})
    mine, theirs = load_file(tmp_path / "mine"), load_file(tmp_path / "theirs")
    assert mine.keys() == theirs.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert mine[name].dtype == tensor.dtype
        assert mine[name].shape == theirs[name].shape
        assert torch.equal(*(each[name].reshape(-1).view(torch.uint8) for each in (mine, theirs))), name
    assert (tmp_path / "mine").stat().st_size == (tmp_path / "theirs").stat().st_size


def test_tensor_file_reads_single_tensors_and_checks_their_shapes(tmp_path: Path) -> None:
    tensors = {"a": torch.rand(5, 3), "b": torch.arange(4, dtype=torch.int16)}
    write_tensors(tmp_path / "file", tensors)
    with TensorFile(tmp_path / "file") as file:
        assert file.names() == {"a", "b"}
        assert (file.shape("a"), file.dtype("b")) == ([5, 3], torch.int16)
        assert torch.equal(file.read("b"), tensors["b"])
        assert torch.equal(file.read_part("a", torch.zeros(5, 3)), tensors["a"])
        with pytest.raises(ValueError, match=r"\[3, 5\].*\[5, 3\]"):
            file.read_part("a", torch.zeros(3, 5))


def test_types_that_safetensors_cannot_store_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mine .*complex64"):
        write_tensors(tmp_path / "file", {"mine": torch.zeros(2, dtype=torch.complex64)})


def test_errors_while_writing_are_raised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        write_tensors(tmp_path / "missing" / "file", {"a": torch.ones(2)})
