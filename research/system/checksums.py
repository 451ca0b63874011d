"""Checksums to compare tensors across processes or over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from research.system.sharded_tensors import device_of_processes, first_row, is_sharded, local_part

BLOCK_BYTES = 2048
"""Number of bytes that are added up, as words of 8 bytes, before they are weighted."""


def checksum(tensor: Tensor) -> Tensor:
    """Return an int64 checksum that depends on every bit of this process's part of a tensor.

    The checksums of all parts of a tensor add up, modulo 2^64, to the checksum of the whole tensor. A checksum depends
    on the order of blocks of BLOCK_BYTES, but not on the order of words of 8 bytes within a block.
    """
    # In bytes, the place of this process's part.
    start = first_row(tensor) * tensor.shape[1:].numel() * tensor.element_size()
    return checksum_of_part(local_part(tensor), start)


def checksum_of_part(part: Tensor, start: int) -> Tensor:
    """Return what a part of a tensor adds to the checksum of the whole tensor, as int64.

    Args:
        part: consecutive values of the tensor.
        start: number of bytes before the part.
    """
    data = part.contiguous().reshape(-1).view(torch.uint8)
    # The whole blocks, in the middle, are read as they are. The rest of the first and the last block is filled with 0.
    num_first = min(-start % BLOCK_BYTES, len(data))
    num_whole = (len(data) - num_first) // BLOCK_BYTES * BLOCK_BYTES
    first, whole, last = data.split([num_first, num_whole, len(data) - num_first - num_whole])
    if whole.storage_offset() % 8 != 0:  # cannot be read as words of 8 bytes
        whole = whole.clone()
    sums = [whole.view(torch.int64).view(-1, BLOCK_BYTES // 8).sum(dim=1)]
    if num_first:
        sums.insert(0, _sum_of_block(first, start % BLOCK_BYTES))
    if len(last):
        sums.append(_sum_of_block(last, 0))
    block_sums = torch.cat(sums)
    block = start // BLOCK_BYTES
    # Weighted with odd numbers, because a change times an odd number is never 0 modulo 2^64.
    weights = torch.arange(2 * block + 1, 2 * (block + len(block_sums)) + 1, 2, device=data.device)
    return (block_sums * weights).sum()


def _sum_of_block(data: Tensor, offset: int) -> Tensor:
    """Return the sum of the words of an incomplete block, [1]."""
    block = data.new_zeros(BLOCK_BYTES)
    block[offset : offset + len(data)] = data
    return block.view(torch.int64).sum(dim=0, keepdim=True)


def checksums(module: nn.Module) -> dict[str, int]:
    """Return the checksum of every parameter and buffer in a module's state dict; see `checksums_of`."""
    return checksums_of(module.state_dict())


def checksums_of(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the checksum of every tensor.

    Called on every process if tensors are split over the processes: the parts' checksums are added up.
    """
    # Parts may be offloaded to the CPU, while buffers are not.
    numbers = torch.stack([checksum(tensor).to(device_of_processes(tensor)) for tensor in tensors.values()])
    split = [index for index, tensor in enumerate(tensors.values()) if is_sharded(tensor)]
    if split:
        sums = numbers[split]
        some: Any = next(tensor for tensor in tensors.values() if is_sharded(tensor))
        torch.distributed.all_reduce(sums, group=some.device_mesh.get_group(some.device_mesh.ndim - 1))
        numbers[split] = sums
    return dict(zip(tensors, numbers.tolist(), strict=True))
