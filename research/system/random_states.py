"""States of all random number generators used in training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def capture(device: torch.device) -> dict[str, Any]:
    """Return the states of this process's generators, as plain values and tensors.

    Args:
        device: device of the model.
    """
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    assert isinstance(keys, np.ndarray)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "python": [version, list(numbers), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
    }


def restore(states: dict[str, Any], device: torch.device) -> None:
    """Restore the states that `capture` returned.

    Raises:
        ValueError: if the states were captured on a different type of device.
    """
    if (states["cuda"] is not None) != (device.type == "cuda"):
        raise ValueError(f"The random states were not captured on a device of type {device.type}.")
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))


@contextmanager
def preserving(device: torch.device) -> Iterator[None]:
    """Restore the states of all generators at the end of the context.

    Args:
        device: device of the model.
    """
    before = capture(device)
    try:
        yield
    finally:
        restore(before, device)
