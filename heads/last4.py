"""The last four layers, concatenated."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.classifier import linear_layer
from heads.masking import first_token

NUM_LAYERS = 4


@register_head("last4")
class Last4Head(Head):
    """The first token's hidden states of the last four layers, concatenated, dropout, linear.

    Source: Devlin et al. 2019, BERT, section 5.3. An encoder with fewer hidden states is refused.

    Args:
        dropout: probability of dropping a feature before the linear layer.
    """

    wants: ClassVar[Literal["last_hidden_state", "all_hidden_states"]] = "all_hidden_states"

    def __init__(self, encoder: EncoderSpec, num_labels: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        if encoder.num_hidden_states < NUM_LAYERS:
            raise ValueError(
                f"The head 'last4' needs an encoder with {NUM_LAYERS} hidden states, got {encoder.num_hidden_states}; "
                "choose 'scalar_mix', which takes any number."
            )
        self.dropout = nn.Dropout(dropout)
        self.out = linear_layer(NUM_LAYERS * encoder.hidden_size, num_labels)

    def forward(
        self,
        hidden_states: tuple[Float[Tensor, "batch seq hidden"], ...],
        attention_mask: Int[Tensor, "batch seq"],
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        firsts = [first_token(layer, attention_mask) for layer in hidden_states[-NUM_LAYERS:]]
        return self.out(self.dropout(torch.cat(firsts, dim=-1)))
