"""Bidirectional LSTM over the tokens."""

from __future__ import annotations

from typing import Literal

from torch import nn

from heads.base import EncoderSpec, register_head
from heads.checks import require_one_of, require_positive, require_probability
from heads.recurrent import RecurrentHead


@register_head("lstm")
class LSTMHead(RecurrentHead):
    """Bidirectional long short-term memory (LSTM) over the tokens, then pooling, dropout and a linear layer.

    Padding is skipped.

    Source: Hochreiter & Schmidhuber 1997; Graves & Schmidhuber 2005 (bidirectional).

    Args:
        lstm_size: hidden size of each direction.
        num_layers: number of stacked layers.
        dropout: probability of dropping a feature between layers and before the linear layer.
        pooling: how to pool the states over the tokens: "last" (final state of each direction), "mean" or "max".
    """

    def __init__(
        self,
        encoder: EncoderSpec,
        num_labels: int,
        *,
        lstm_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.1,
        pooling: Literal["last", "mean", "max"] = "mean",
    ) -> None:
        require_positive(lstm_size=lstm_size, num_layers=num_layers)
        require_probability(dropout=dropout)
        require_one_of(("last", "mean", "max"), pooling=pooling)
        super().__init__(
            nn.LSTM,
            encoder,
            num_labels,
            state_size=lstm_size,
            num_layers=num_layers,
            dropout=dropout,
            pooling=pooling,
        )
