"""Names of the registered optimizers, and a few steps of a tiny model with them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from research.learning.optimizers.base import OPTIMIZERS
from research.model.encoder_with_head import EncoderWithHead
from tests.research.model.tiny_encoders import tiny_batch
from tests.shipped import shipped_names

NAMES = shipped_names(OPTIMIZERS)


def train(model: EncoderWithHead, optimizers: list[Optimizer], num_steps: int) -> None:
    """Take steps on one batch, without dropout."""
    model.eval()
    for _ in range(num_steps):
        model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def weights(model: EncoderWithHead) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]
