"""Concatenation of the last four layers."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.checks import require_one_of, require_probability
from heads.masking import POOLINGS
from heads.output_layer import OutputLayer

NUM_LAYERS = 4


@register_head("last4")
class Last4Head(Head):
    """Pooled hidden states of the last four layers, concatenated, then dropout and a linear layer.

    Source: Devlin et al. 2019, BERT, section 5.3. Differs: the tokens are pooled to classify the row; the paper
    classifies each token with an LSTM. Encoders with fewer than four hidden states per token (one of the embeddings and
    one of each layer) are rejected.

    Args:
        dropout: probability of dropping a feature before the linear layer.
        pooling: how to pool the hidden states over the tokens: "first" (token), "mean" or "max".
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
                f"The head 'last4' needs {NUM_LAYERS} or more hidden states per token; this encoder has "
                f"{encoder.num_hidden_states}. "
                "Choose 'scalar_mix', which accepts any number."
            )
        self.needs_first_token_to_see_all = pooling == "first"
        self.input_pooling = {"first": "first_token", "mean": "masked_mean", "max": "masked_max"}[pooling]
        self.pool = POOLINGS[self.input_pooling]
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(NUM_LAYERS * encoder.hidden_size, num_labels)

    def forward(
        self,
        hidden_states: tuple[Float[Tensor, "batch seq hidden"], ...],
        attention_mask: Int[Tensor, "batch seq"],
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        # Pooling before the concatenation gives the same result, and smaller tensors are concatenated.
        pooled = [self.pool(layer, attention_mask) for layer in hidden_states[-NUM_LAYERS:]]
        return self.out(self.dropout(torch.cat(pooled, dim=-1)))
