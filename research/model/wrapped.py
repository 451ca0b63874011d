"""What the checks of encoders need to know of a model's wrappers. This one stands for a model without any."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor


class Wrapped:
    """A model that may have wrappers."""

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """Data type in which layers compute; None if it is that of their parameters, or chosen by autocast."""
        return None

    def trying_encoder(self) -> AbstractContextManager[None]:
        """Return a context for first forward passes of the encoder, without a backward pass."""
        return contextlib.nullcontext()

    def original(self, leaf: Tensor) -> Tensor:
        """Return the parameter for which a leaf of an autograd graph stands."""
        return leaf


UNWRAPPED = Wrapped()
"""A model without wrappers."""
