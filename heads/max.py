"""Maximum over all tokens."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from heads.base import register_head
from heads.masking import masked_max
from heads.pooled import PooledHead


@register_head("max")
class MaxHead(PooledHead):
    """Maximum of the hidden states over all tokens, then dropout and a linear layer.

    Source: Reimers & Gurevych 2019, Sentence-BERT (max pooling).

    Args:
        dropout: probability of dropping a feature before the linear layer.
    """

    input_pooling = "masked_max"

    def pool(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch hidden"]:
        """See `PooledHead.pool`."""
        return masked_max(hidden_states, attention_mask)
