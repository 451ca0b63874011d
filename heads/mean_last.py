"""Mean over all tokens, with more weight on later tokens."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from heads.base import register_head
from heads.masking import position_weighted_mean
from heads.pooled import PooledHead


@register_head("mean_last")
class MeanLastHead(PooledHead):
    """Mean of the hidden states over all tokens, weighted by position, then dropout and a linear layer.

    The weight of the i-th token is proportional to i, because in a decoder with a causal attention mask, later tokens
    read more of the row. Padding does not count as a position.

    Source: Muennighoff 2022, SGPT: GPT Sentence Embeddings for Semantic Search, section 4.1 (position-weighted mean
    pooling).

    Args:
        dropout: probability of dropping a feature before the linear layer.
    """

    input_pooling = "position_weighted_mean"

    def pool(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch hidden"]:
        """See `PooledHead.pool`."""
        return position_weighted_mean(hidden_states, attention_mask)
