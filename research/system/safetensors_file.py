"""Write safetensors files, and read them tensor by tensor or row by row.

Source of the format: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from research.system.sharded_tensors import first_row, is_sharded, local_part

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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors into a file, one at a time.

    Args:
        path: the new file.
        tensors: the tensors by name, on any device.
    Raises:
        OSError: if the file cannot be written.
        ValueError: if the format has no name for a data type.
    """
    described = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    write_bytes(path, described, (to_bytes(tensors[name]) for name in file_order(described)))


def write_bytes(
    path: Path, tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], values: Iterable[Tensor]
) -> None:
    """Write tensors into a file whose bytes arrive in pieces.

    Args:
        path: the new file.
        tensors: data type and shape of each tensor.
        values: the bytes of all tensors, in the order of `file_order`, in any number of pieces of type uint8.
    Raises:
        OSError: if the file cannot be written.
        ValueError: if the format has no name for a data type.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in file_order(tensors):
        dtype, shape = tensors[name]
        end = offset + torch.Size(shape).numel() * dtype.itemsize
        header[name] = {"dtype": type_name(dtype, name), "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for piece in values:
            data: Any = piece.numpy()
            file.write(data)


def file_order(tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> list[str]:
    """Return the names of tensors in the order of a file: large data types first, which aligns their offsets."""
    return sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))


def to_bytes(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor, on the CPU."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def count_rows(shape: Sequence[int]) -> int:
    """Return the number of rows of a tensor. A single number counts as one row."""
    return shape[0] if shape else 1


class StoredTensors(ABC):
    """Stored tensors that are read one by one, or in part. Use them as a context."""

    def __enter__(self) -> StoredTensors:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the files."""

    @abstractmethod
    def names(self) -> set[str]:
        """Return the names of the tensors."""

    @abstractmethod
    def shape(self, name: str) -> list[int]:
        """Return the shape of a whole tensor."""

    @abstractmethod
    def dtype(self, name: str) -> torch.dtype:
        """Return the data type of a tensor."""

    @abstractmethod
    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Return some rows of a tensor, on the CPU; a single number counts as one row.

        Args:
            name: name of the tensor.
            start: index of the first row.
            stop: index after the last row.
        """

    def read(self, name: str) -> Tensor:
        """Return a whole tensor, on the CPU."""
        return self.read_rows(name, 0, count_rows(self.shape(name)))

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
            raise ValueError(f"Expected {name} of shape {list(like.shape)} in {self}; found {shape}.")
        if not is_sharded(like):
            return self.read(name)
        start = first_row(like)
        return self.read_rows(name, start, start + local_part(like).shape[0])


class TensorFile(StoredTensors):
    """A safetensors file.

    Raises:
        OSError: if the file cannot be read.
        SafetensorError: if it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = safe_open(path, framework="pt")

    def __str__(self) -> str:
        return str(self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.__exit__(kind, error, traceback)

    def names(self) -> set[str]:
        """Return the names of the tensors."""
        return set(self._file.keys())

    def shape(self, name: str) -> list[int]:
        """Return the shape of a tensor."""
        shape: list[int] = self._file.get_slice(name).get_shape()
        return shape

    def dtype(self, name: str) -> torch.dtype:
        """Return the data type of a tensor.

        Raises:
            ValueError: if it is a type that `write_tensors` does not write.
        """
        return dtype_of(self._file.get_slice(name).get_dtype(), f"{name} in {self}")

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Return some rows of a tensor, on the CPU."""
        shape = self.shape(name)
        # A slice of a single number, or one without rows, is refused.
        if not shape or (start, stop) == (0, shape[0]):
            whole: Tensor = self._file.get_tensor(name)
            return whole
        if start == stop:
            return torch.empty([0, *shape[1:]], dtype=self.dtype(name))
        rows: Tensor = self._file.get_slice(name)[start:stop]
        return rows


def type_name(dtype: torch.dtype, tensor: str) -> str:
    """Return the name of a data type in the format.

    Args:
        dtype: the data type.
        tensor: description of the tensor, for the message.
    Raises:
        ValueError: if the format has no name for it.
    """
    if dtype not in TYPE_NAMES:
        raise ValueError(f"Expected {tensor} to be of a type that safetensors can store, got {dtype}.")
    return TYPE_NAMES[dtype]


def dtype_of(name: str, tensor: str) -> torch.dtype:
    """Return the data type with a name in the format.

    Args:
        name: the name.
        tensor: description of the tensor, for the message.
    Raises:
        ValueError: if there is no such type.
    """
    dtype = next((dtype for dtype, type_name in TYPE_NAMES.items() if type_name == name), None)
    if dtype is None:
        raise ValueError(f"Expected {tensor} to be of one of the types {', '.join(TYPE_NAMES.values())}; found {name}.")
    return dtype
