"""Tensors of which each process holds a part: DTensors of PyTorch, split along their first dimension."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Return whether each process may hold only a part of a tensor."""
    # Importing the module takes a second, and without it there are no such tensors.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def is_split_by_rows(tensor: Tensor) -> bool:
    """Return whether a sharded tensor consists of rows: each process holds some of them, or all of them."""
    sharded: Any = tensor
    return all(each.is_replicate() or each.is_shard(0) for each in sharded.placements)


def is_in_first_copy(tensor: Tensor) -> bool:
    """Return whether this process holds its rows of a tensor first, if several processes hold the same rows.

    Args:
        tensor: a tensor that is split by rows.
    """
    sharded: Any = tensor
    places = zip(sharded.device_mesh.get_coordinate(), sharded.placements, strict=True)
    return all(index == 0 for index, each in places if each.is_replicate())


def gather(tensor: Tensor) -> Tensor:
    """Return the whole tensor, detached; called on every process.

    Args:
        tensor: a tensor, of which each process may hold a part.
    """
    detached: Any = tensor.detach()
    if not is_sharded(tensor):
        return tensor.detach()
    local = detached.to_local()
    if local.device.type == detached.device_mesh.device_type:
        whole: Tensor = detached.full_tensor()
        return whole
    # Offloaded to the CPU, from which these processes cannot send.
    moved: Any = _from_part(local.to(detached.device_mesh.device_type), detached)
    whole = moved.full_tensor()
    return whole.to(local.device)


def local_part(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor, detached, in the same memory; a whole tensor is one part."""
    detached: Any = tensor.detach()
    part: Tensor = detached.to_local() if is_sharded(tensor) else detached
    return part


def device_of_processes(tensor: Tensor) -> torch.device:
    """Return the device from which processes send their parts of a tensor: not the CPU if GPUs offload them to it."""
    if not is_sharded(tensor):
        return tensor.device
    sharded: Any = tensor
    return torch.device(sharded.device_mesh.device_type)


def first_row(tensor: Tensor) -> int:
    """Return the index of the first row of this process's part of a tensor; 0 if it is whole."""
    if not is_sharded(tensor):
        return 0
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sharded: Any = tensor
    _, offsets = compute_local_shape_and_global_offset(sharded.shape, sharded.device_mesh, sharded.placements)
    return int(offsets[0]) if offsets else 0


def cut_part(whole: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a whole tensor, in memory of its own.

    Args:
        whole: the whole tensor.
        like: a tensor of the same shape, of which each process may hold a part.
    """
    return _rows_of(whole, like).to(local_part(like).device, copy=True)


def copy_values(source: Tensor, target: Tensor) -> None:
    """Copy a tensor into another one of the same shape, in place; called on every process if the source is split."""
    if is_sharded(source) and is_sharded(target):
        local_part(target).copy_(local_part(source))
    else:
        copy_part(gather(source), target)


def copy_part(whole: Tensor, target: Tensor) -> None:
    """Copy this process's part of a whole tensor into a tensor of the same shape, in place."""
    local_part(target).copy_(_rows_of(whole, target))
    if is_sharded(target):
        torch.autograd.graph.increment_version(target)  # PyTorch has counted a change of the part only


def _rows_of(whole: Tensor, like: Tensor) -> Tensor:
    """Return the rows of a whole tensor that this process holds of another one of the same shape."""
    if not is_sharded(like):
        return whole
    start = first_row(like)
    return whole[start : start + local_part(like).shape[0]]


def match(value: Tensor, like: Tensor) -> Tensor:
    """Return a tensor on the device of another one of the same shape, and split over the processes if that is.

    Args:
        value: a whole tensor, or one that is split like `like`.
        like: the other tensor.
    """
    if is_sharded(like) and not is_sharded(value):
        return distribute(cut_part(value, like), like)
    return value.to(local_part(like).device)


def distribute(part: Tensor, like: Tensor) -> Tensor:
    """Return the tensor with the given part on this process, distributed like another one of the same shape.

    Args:
        part: the part of this process; the whole tensor if `like` is whole.
        like: a tensor of the same shape, of which each process may hold a part.
    """
    return _from_part(part, like) if is_sharded(like) else part


def split_like(shape: Sequence[int], like: Tensor, dtype: torch.dtype) -> Tensor:
    """Return an uninitialised tensor that is split over the same processes as another one, on the same device.

    Args:
        shape: shape of the whole tensor.
        like: a tensor of any shape that is split over processes.
        dtype: data type of the new tensor.
    """
    sharded: Any = like.detach()
    return empty_split(shape, sharded.device_mesh, sharded.placements, dtype, sharded.to_local().device)


def empty_split(shape: Sequence[int], mesh: Any, placements: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return an uninitialised tensor that is split over processes.

    Args:
        shape: shape of the whole tensor.
        mesh: the processes, a `DeviceMesh`.
        placements: how the tensor is placed along each dimension of the mesh.
        dtype: data type of the tensor.
        device: device of this process's part.
    """
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    whole = torch.empty(tuple(shape), device="meta")
    local, _ = compute_local_shape_and_global_offset(whole.shape, mesh, placements)
    part = torch.empty(tuple(local), dtype=dtype, device=device)
    return DTensor.from_local(part, mesh, placements, run_check=False, shape=whole.shape, stride=whole.stride())


def _from_part(part: Tensor, like: Any) -> Tensor:
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
