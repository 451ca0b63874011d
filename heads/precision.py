"""Precision of single operations."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Return a context in which operations compute in the precision of their inputs, even under autocast.

    Args:
        device: type of a device, such as cpu.
    """
    # False for the meta device
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
