"""Tensors whose rows are in several safetensors files, with an index, and one way to open these and single files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from research.system.safetensors_file import StoredTensors, TensorFile, count_rows, dtype_of
from research.system.sharded_tensors import is_sharded, local_part, split_like

LARGEST_SIZE = 2**62
"""Number of values that no stored tensor has."""


def path_of_process(path: Path, rank: int) -> Path:
    """Return the file with the rows of one process: model-3.safetensors for process 3 and model.safetensors."""
    return path.with_name(f"{path.stem}-{rank}{path.suffix}")


def path_of_index(path: Path) -> Path:
    """Return the index of the files of all processes: model.parts.json for model.safetensors."""
    return path.with_name(f"{path.stem}.parts.json")


def open_tensors(path: Path) -> StoredTensors:
    """Open tensors that are in one file, or in several files with an index.

    Args:
        path: the one file, which need not exist if there is an index beside it.
    Raises:
        OSError: if there is no such file and no index.
        ValueError, SafetensorError: if the file or the index is damaged.
    """
    return IndexedTensors(path) if path_of_index(path).exists() else TensorFile(path)


def read_as_split(file: StoredTensors, name: str, like: Tensor) -> Tensor:
    """Return a stored tensor, split over the processes along its first dimension if another tensor is.

    Args:
        file: the stored tensors.
        name: name of the tensor.
        like: a tensor of any shape, which determines the processes. If it is whole, a whole tensor is returned.
    """
    if not is_sharded(like):
        return file.read(name)
    empty = split_like(file.shape(name), like, file.dtype(name))
    local_part(empty).copy_(file.read_part(name, empty))
    return empty


@dataclass(frozen=True)
class _Entry:
    """What an index says of a tensor."""

    dtype: torch.dtype
    shape: list[int]
    """Shape of the whole tensor."""
    rows: list[tuple[int, int, str]]
    """First row, end, and name of each file with rows of the tensor, in the order of the rows."""


class IndexedTensors(StoredTensors):
    """The tensors that `write_by_process` wrote. Only the files with rows that are read are opened.

    Args:
        path: path of the file that would contain whole tensors.
    Raises:
        OSError: if the index cannot be read.
        ValueError: if it is damaged; a damaged file raises an error when its rows are read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = _read_index(path)
        self._files: dict[str, StoredTensors] = {}
        self._opened = ExitStack()

    def __str__(self) -> str:
        return str(path_of_index(self._path))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the files."""
        self._opened.close()

    def names(self) -> set[str]:
        """Return the names of the tensors."""
        return set(self._entries)

    def shape(self, name: str) -> list[int]:
        """Return the shape of a whole tensor."""
        return self._entry(name).shape

    def dtype(self, name: str) -> torch.dtype:
        """Return the data type of a tensor."""
        return self._entry(name).dtype

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """Return some rows of a tensor, on the CPU, from the files that contain them.

        Raises:
            ValueError: if a file contains other rows than the index says.
        """
        entry = self._entry(name)
        pieces = [
            self._open(file_name, name, entry, last - first).read_rows(
                name, max(start, first) - first, min(stop, last) - first
            )
            for first, last, file_name in entry.rows
            if max(start, first) < min(stop, last)
        ]
        if not pieces:
            return torch.empty([stop - start, *entry.shape[1:]], dtype=entry.dtype)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise ValueError(f"{self} does not contain {name}.")
        return self._entries[name]

    def _open(self, file_name: str, name: str, entry: _Entry, num_rows: int) -> StoredTensors:
        """Return a file, after checking that it has as many rows of a tensor as the index says."""
        if file_name not in self._files:
            self._files[file_name] = self._opened.enter_context(TensorFile(self._path.with_name(file_name)))
        file = self._files[file_name]
        expected = (entry.dtype, [num_rows, *entry.shape[1:]] if entry.shape else [])
        found = (file.dtype(name), file.shape(name))
        if found != expected:
            raise ValueError(
                f"Expected {name} of type {expected[0]} and shape {expected[1]} in {file}, as its index says; found "
                f"{found[0]} and {found[1]}."
            )
        return file


def _read_index(path: Path) -> dict[str, _Entry]:
    """Return the content of an index.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or names other files than those of processes.
    """
    index = path_of_index(path)
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{index} is not a JSON file.") from None
    if not isinstance(content, dict):
        raise ValueError(f"Expected a JSON object in {index}.")
    return {name: _parse_entry(index, path, name, entry) for name, entry in content.items()}


def _parse_entry(index: Path, path: Path, name: str, entry: Any) -> _Entry:
    """Return an entry of an index, after checking that its files have each row once.

    Raises:
        ValueError: if not.
    """
    match entry:
        case {"dtype": str(type_name), "shape": list(shape), "rows": dict(rows)} if (
            _are_sizes(shape) and math.prod(shape) < LARGEST_SIZE and all(map(_is_range, rows.values()))
        ):
            pass
        case _:
            raise ValueError(f"Expected a data type, a shape and rows of {name} in {index}; found {str(entry)[:200]}.")
    of_process = re.compile(rf"{re.escape(path.stem)}-[0-9]+{re.escape(path.suffix)}")
    other = next((file for file in rows if not of_process.fullmatch(file)), None)
    if other is not None:
        raise ValueError(f"Expected files such as {path_of_process(path, 0).name} in {index}; found {other[:200]!r}.")
    in_order = sorted((start, stop, file) for file, (start, stop) in rows.items())
    num_rows = count_rows(shape) if math.prod(shape) else 0  # no file has rows without values
    if [0, *(stop for _, stop, _ in in_order)] != [*(start for start, _, _ in in_order), num_rows]:
        ranges = ", ".join(f"{start} to {stop}" for start, stop, _ in in_order[:10])
        raise ValueError(
            f"Expected each of the {num_rows} rows of {name} in exactly one file of {index}; found {ranges or 'none'}."
        )
    return _Entry(dtype_of(type_name, f"{name} in {index}"), shape, in_order)


def _are_sizes(values: Sequence[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _are_sizes(value) and value[0] < value[1]
