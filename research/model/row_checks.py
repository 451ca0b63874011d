"""What the checks of encoders and heads on a few rows have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

WIDTH = 32
"""Number of positions in a padded row."""
TOLERANCE = 1e-2
TOLERANCE_IN_HALF_PRECISION = 5e-2
"""Accepted change by padding or by other rows, as a share of the change by different tokens. The tolerances are not 0,
because rounding depends on the shape of the batch."""


@contextlib.contextmanager
def fixed_random_numbers(device: torch.device) -> Iterator[None]:
    """Return a context with the same random numbers for every check; on exit, the random state is restored."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def difference(first: Tensor, second: Tensor) -> float:
    """Return the largest absolute difference between tensors of one shape."""
    return float((first.float() - second.float()).abs().max())
