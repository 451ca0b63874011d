"""Learned weighted sum of all layers."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.checks import require_probability
from heads.masking import masked_mean
from heads.output_layer import OutputLayer


@register_head("scalar_mix")
class ScalarMixHead(Head):
    """Learned weighted sum of all layers' hidden states, then the mean over tokens, dropout and a linear layer.

    Source: Peters et al. 2018, Deep Contextualized Word Representations (ELMo), eq. 1. Differs: the result is averaged
    over tokens. The code averages each layer first and then sums the layers, which is equivalent.

    Args:
        dropout: probability of dropping a feature before the linear layer.
    """

    wants: ClassVar[Literal["last_hidden_state", "all_hidden_states"]] = "all_hidden_states"
    input_pooling = "masked_mean"

    def __init__(self, encoder: EncoderSpec, num_labels: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        require_probability(dropout=dropout)
        # The paper's weights s, before the softmax
        self.mixture = nn.Parameter(torch.zeros(encoder.num_hidden_states))
        self.gamma = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(encoder.hidden_size, num_labels)

    def forward(
        self,
        hidden_states: tuple[Float[Tensor, "batch seq hidden"], ...],
        attention_mask: Int[Tensor, "batch seq"],
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        means = torch.stack([masked_mean(layer, attention_mask) for layer in hidden_states])  # [layers, batch, hidden]
        mixed = self.gamma * torch.einsum("l,lbh->bh", self.mixture.softmax(dim=0), means.to(self.mixture.dtype))
        return self.out(self.dropout(mixed))
