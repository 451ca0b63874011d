"""Small hidden states and output weights, for tests that compute logits by hand."""

from __future__ import annotations

import torch
from torch import nn

from heads.base import EncoderSpec

ENCODER_SPEC = EncoderSpec(hidden_size=2, num_hidden_states=4)
HIDDEN_STATES = torch.tensor([[[9.0, 9.0], [1.0, -2.0], [3.0, 4.0]]])  # one row: padding, then two tokens
MASK = torch.tensor([[0, 1, 1]])


def set_output_layer(head: nn.Module, weight: list[list[float]], bias: list[float]) -> None:
    """Set the weight, [num_labels, features], and the bias of a head's output layer."""
    head.get_parameter("out.weight").data = torch.tensor(weight)
    head.get_parameter("out.bias").data = torch.tensor(bias)
