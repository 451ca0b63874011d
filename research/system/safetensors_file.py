"""Write and read safetensors files tensor by tensor, also if each process holds only a part of a tensor.

Source of the format: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from research.system.sharded_tensors import first_row, gather, is_sharded, local_part, split_like

TYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The names of data types in the format."""


def write_gathered(path: Path, tensors: Mapping[str, Tensor], *, is_main: bool) -> None:
    """Write whole tensors into a file on the main process; called on every process, with the same names.

    Tensors are gathered one at a time, so that no process holds more than one whole tensor in addition to its own.

    Args:
        path: the new file.
        tensors: the tensors by name. Each process may hold a part of them; parts need not be on the CPU.
        is_main: whether this is the main process.
    Raises:
        OSError: on the main process, if the file cannot be written. All tensors have been gathered nevertheless, so
            that the other processes do not wait.
        ValueError: if the format has no name for a data type.
    """
    # In the format, offsets are aligned if large data types come first.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header = _header([(name, tensors[name]) for name in names])
    num_gathered = 0

    def gather_next() -> Tensor:
        nonlocal num_gathered
        num_gathered += 1
        return gather(tensors[names[num_gathered - 1]])

    try:
        if is_main:
            with path.open("wb") as file:
                file.write(header)
                while num_gathered < len(names):
                    values: Any = gather_next().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                    file.write(values)
    finally:  # on the other processes, and after an error
        for name in names[num_gathered:]:
            if is_sharded(tensors[name]):
                gather(tensors[name])


def _header(tensors: list[tuple[str, Tensor]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors:
        if tensor.dtype not in TYPE_NAMES:
            raise ValueError(f"Expected {name} to be of a type that safetensors can store, got {tensor.dtype}.")
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": TYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_as_split(file: TensorFile, name: str, like: Tensor) -> Tensor:
    """Return a tensor of a file, split over the processes along its first dimension if another tensor is.

    Args:
        file: the file.
        name: name of the tensor.
        like: a tensor of any shape, which determines the processes. If it is whole, a whole tensor is returned.
    """
    if not is_sharded(like):
        return file.read(name)
    empty = split_like(file.shape(name), like, file.dtype(name))
    local_part(empty).copy_(file.read_part(name, empty))
    return empty


class TensorFile:
    """A safetensors file that is read tensor by tensor, or part by part. Use it as a context.

    Raises:
        OSError: if the file cannot be read.
        SafetensorError: if it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = safe_open(path, framework="pt")
        self._opened: Any = None

    def __enter__(self) -> TensorFile:
        self._opened = self._file.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._file.__exit__(*details)

    def names(self) -> set[str]:
        """Return the names of the tensors."""
        return set(self._opened.keys())

    def shape(self, name: str) -> list[int]:
        """Return the shape of a tensor."""
        shape: list[int] = self._opened.get_slice(name).get_shape()
        return shape

    def dtype(self, name: str) -> torch.dtype:
        """Return the data type of a tensor."""
        stored = self._opened.get_slice(name).get_dtype()
        return next(dtype for dtype, type_name in TYPE_NAMES.items() if type_name == stored)

    def read(self, name: str) -> Tensor:
        """Return a whole tensor, on the CPU."""
        tensor: Tensor = self._opened.get_tensor(name)
        return tensor

    def read_part(self, name: str, like: Tensor) -> Tensor:
        """Return this process's part of a tensor, on the CPU.

        Args:
            name: name of the tensor.
            like: a tensor of the same shape. If each process holds a part of it, only this part is read.
        Raises:
            ValueError: if the shapes differ.
        """
        shape = self.shape(name)
        if shape != list(like.shape):
            raise ValueError(f"Expected {name} of shape {list(like.shape)} in {self._path}; found {shape}.")
        if not is_sharded(like):
            return self.read(name)
        start, num_rows = first_row(like), local_part(like).shape[0]
        if num_rows == 0:
            return torch.empty_like(local_part(like), device="cpu")
        part: Tensor = self._opened.get_slice(name)[start : start + num_rows]
        return part
