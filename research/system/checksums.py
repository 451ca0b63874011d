"""Checksums to compare tensors across processes or over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def checksum(tensor: Tensor) -> Tensor:
    """Return an int64 checksum that depends on every bit of a tensor.

    It depends on the order of blocks of 256 words (8 bytes each), but not on the order of words within a block.
    """
    bits = tensor.detach().reshape(-1)
    element_size = bits.element_size()
    if bits.storage_offset() * element_size % 8 != 0:  # a view into a larger tensor, not aligned to 8 bytes
        bits = bits.clone()
    num_aligned = bits.numel() * element_size // 8 * 8 // element_size
    words = bits[:num_aligned].view(torch.int64)
    tail = bits[num_aligned:].view({1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[element_size])
    num_in_blocks = words.numel() // 256 * 256
    parts = torch.cat([words[:num_in_blocks].view(-1, 256).sum(dim=1), words[num_in_blocks:], tail.to(torch.int64)])
    # Weight the parts with odd numbers, because a change times an odd number is never 0 modulo 2^64.
    return (parts * torch.arange(1, 2 * len(parts), 2, device=parts.device)).sum()


def checksums(module: nn.Module) -> dict[str, int]:
    """Return the checksum of every parameter and buffer in a module's state dict."""
    tensors = module.state_dict()
    numbers = torch.stack([checksum(tensor) for tensor in tensors.values()]).tolist()
    return dict(zip(tensors, numbers, strict=True))
