"""Bidirectional GRU over the tokens."""

from __future__ import annotations

from typing import Literal

from torch import nn

from heads.base import EncoderSpec, register_head
from heads.checks import require_one_of, require_positive, require_probability
from heads.recurrent import RecurrentHead


@register_head("gru")
class GRUHead(RecurrentHead):
    """Bidirectional gated recurrent unit (GRU) over the tokens, then pooling, dropout and a linear layer.

    Padding is skipped.

    Source: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder.

    Args:
        gru_size: hidden size of each direction.
        num_layers: number of stacked layers.
        dropout: probability of dropping a feature between layers and before the linear layer.
        pooling: how to pool the states over the tokens: "last" (final state of each direction), "mean" or "max".
    """

    def __init__(
        self,
        encoder: EncoderSpec,
        num_labels: int,
        *,
        gru_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.1,
        pooling: Literal["last", "mean", "max"] = "mean",
    ) -> None:
        require_positive(gru_size=gru_size, num_layers=num_layers)
        require_probability(dropout=dropout)
        require_one_of(("last", "mean", "max"), pooling=pooling)
        super().__init__(
            nn.GRU,
            encoder,
            num_labels,
            state_size=gru_size,
            num_layers=num_layers,
            dropout=dropout,
            pooling=pooling,
        )
