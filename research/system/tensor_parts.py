"""Write tensors of which each process holds some rows: into one file, or into one file per process with an index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from research.system.indexed_tensors import path_of_index, path_of_process
from research.system.process_group import ProcessGroup
from research.system.safetensors_file import count_rows, file_order, to_bytes, type_name, write_bytes, write_tensors
from research.system.sharded_tensors import (
    first_row,
    gather,
    is_in_first_copy,
    is_sharded,
    is_split_by_rows,
    local_part,
)


@dataclass(frozen=True)
class TensorPart:
    """A tensor, and the rows of it that this process writes. A single number counts as one row."""

    dtype: torch.dtype
    """Data type of the tensor."""
    shape: tuple[int, ...]
    """Shape of the whole tensor."""
    start: int
    """Index of the first row that this process writes."""
    rows: Tensor | None
    """The rows, on any device; None if this process writes none."""

    @property
    def num_bytes(self) -> int:
        """Size of the whole tensor in bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def own_parts(tensors: Mapping[str, Tensor], *, is_main: bool, copy: bool = False) -> dict[str, TensorPart]:
    """Return the parts of tensors that this process writes; called on every process, with the same names.

    The main process writes whole tensors, and each process its rows of split ones. If there are several copies of the
    model, only the processes of the first copy write.

    Args:
        tensors: the tensors by name.
        is_main: whether this is the main process.
        copy: whether to copy the rows into the memory of the CPU, so that the tensors may change.
    """
    parts = {}
    for name, given in tensors.items():
        tensor = given if not is_sharded(given) or is_split_by_rows(given) else gather(given)
        writes = is_in_first_copy(tensor) if is_sharded(tensor) else is_main
        rows = local_part(tensor) if writes else None
        if rows is not None and copy:
            rows = rows.to("cpu", copy=True)
        parts[name] = TensorPart(tensor.dtype, tuple(tensor.shape), first_row(tensor), rows)
    return parts


def write_gathered(path: Path, parts: Mapping[str, TensorPart], processes: ProcessGroup) -> None:
    """Write whole tensors into a file on the main process; called on every process, with the same names.

    The main process receives one part at a time, so that it never holds more than that in addition to its own parts.

    Args:
        path: the new file.
        parts: the parts of this process, by the names of the tensors.
        processes: the processes.
    Raises:
        OSError: on the main process, if the file cannot be written. All parts have been received nevertheless, so
            that the other processes do not wait.
        ValueError: on the main process, if the format has no name for a data type.
    """
    holders = _find_holders(parts, processes)
    described = {name: (part.dtype, part.shape) for name, part in parts.items()}
    if processes.is_main:
        arriving = _receive(file_order(described), parts, holders, processes)
        try:
            write_bytes(path, described, arriving)
        finally:
            for _ in arriving:  # after an error
                pass
        return
    for name in file_order(described):
        rows = parts[name].rows
        if rows is not None and rows.numel():
            processes.send(to_bytes(rows), 0)


def write_by_process(path: Path, parts: Mapping[str, TensorPart], processes: ProcessGroup) -> None:
    """Write the parts of each process into a file of its own; called on every process, with the same names.

    The main process also writes an index: for each tensor, its data type, its shape, and the rows in each file.
    `open_tensors` reads it. For model.safetensors, the files are model-0.safetensors, model-1.safetensors and so on,
    and the index is model.parts.json.

    Args:
        path: path of the file that would contain whole tensors.
        parts: the parts of this process, by the names of the tensors.
        processes: the processes.
    Raises:
        OSError: if a file cannot be written.
        ValueError: if the format has no name for a data type.
    """
    holders = _find_holders(parts, processes)
    own = {name: part.rows for name, part in parts.items() if part.rows is not None and part.rows.numel()}
    if own:
        write_tensors(path_of_process(path, processes.rank), own)
    if processes.is_main:
        index = {
            name: {
                "dtype": type_name(part.dtype, name),
                "shape": part.shape,
                "rows": {path_of_process(path, rank).name: [start, stop] for start, stop, rank in holders[name]},
            }
            for name, part in parts.items()
        }
        path_of_index(path).write_text(json.dumps(index), encoding="utf-8")


def _find_holders(parts: Mapping[str, TensorPart], processes: ProcessGroup) -> dict[str, list[tuple[int, int, int]]]:
    """Return for each tensor who writes which rows: first row, end and rank of each process, in the order of rows."""
    own = {
        name: (part.start, part.start + count_rows(part.rows.shape))
        for name, part in parts.items()
        if part.rows is not None and part.rows.numel()
    }
    by_rank = processes.gather_objects(own)
    return {name: sorted((*held[name], rank) for rank, held in enumerate(by_rank) if name in held) for name in parts}


def _receive(
    names: list[str],
    parts: Mapping[str, TensorPart],
    holders: Mapping[str, list[tuple[int, int, int]]],
    processes: ProcessGroup,
) -> Iterator[Tensor]:
    """Yield the bytes of all tensors on the main process, in the order of names and rows."""
    for name in names:
        part = parts[name]
        for start, stop, rank in holders[name]:
            if rank == processes.rank:
                assert part.rows is not None, "a process that holds rows has them"
                yield to_bytes(part.rows)
            else:
                values = torch.empty(
                    (stop - start) * torch.Size(part.shape[1:]).numel() * part.dtype.itemsize, dtype=torch.uint8
                )
                processes.receive(values, rank)
                yield values
