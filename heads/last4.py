"""The last four layers, concatenated."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.checks import require_one_of, require_probability
from heads.masking import first_token, masked_max, masked_mean
from heads.output_layer import OutputLayer

NUM_LAYERS = 4


@register_head("last4")
class Last4Head(Head):
    """The hidden states of the last four layers, concatenated, pooling, dropout, linear.

    Source: Devlin et al. 2019, BERT, section 5.3. Differs: pooled for one label per row, where the paper labels tokens
    with an LSTM. An encoder with fewer hidden states is refused.

    Args:
        dropout: probability of dropping a feature before the linear layer.
        pooling: what of the tokens is kept: the first one, their mean, or their maximum.
    """

    wants: ClassVar[Literal["last_hidden_state", "all_hidden_states"]] = "all_hidden_states"

    def __init__(
        self,
        encoder: EncoderSpec,
        num_labels: int,
        *,
        dropout: float = 0.1,
        pooling: Literal["first", "mean", "max"] = "first",
    ) -> None:
        super().__init__()
        require_probability(dropout=dropout)
        require_one_of(("first", "mean", "max"), pooling=pooling)
        if encoder.num_hidden_states < NUM_LAYERS:
            raise ValueError(
                f"The head 'last4' needs an encoder with {NUM_LAYERS} hidden states, got {encoder.num_hidden_states}; "
                "choose 'scalar_mix', which takes any number."
            )
        self.pool = {"first": first_token, "mean": masked_mean, "max": masked_max}[pooling]
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(NUM_LAYERS * encoder.hidden_size, num_labels)

    def forward(
        self,
        hidden_states: tuple[Float[Tensor, "batch seq hidden"], ...],
        attention_mask: Int[Tensor, "batch seq"],
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        # Pooled first, which gives the same and concatenates less.
        pooled = [self.pool(layer, attention_mask) for layer in hidden_states[-NUM_LAYERS:]]
        return self.out(self.dropout(torch.cat(pooled, dim=-1)))
