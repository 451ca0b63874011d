"""Attention pooling with learned queries."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.checks import require_divisor, require_positive, require_probability
from heads.masking import masked_softmax
from heads.output_layer import OutputLayer


@register_head("attention")
class AttentionHead(Head):
    """Attention pooling over the tokens with learned queries, then dropout and a linear layer.

    Source: Yang et al. 2016, Hierarchical Attention Networks, eq. 5-7. Differs: scores are masked before the softmax
    and scaled as in Vaswani et al. 2017; there may be several queries and several attention heads. Each attention
    head uses a part of the features, and the results of all queries are concatenated.

    Args:
        num_queries: number of learned queries.
        num_heads: number of attention heads; the encoder's hidden size must be divisible by it.
        dropout: probability of dropping a feature before the linear layer.
    """

    def __init__(
        self,
        encoder: EncoderSpec,
        num_labels: int,
        *,
        num_queries: int = 1,
        num_heads: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        require_probability(dropout=dropout)
        require_positive(num_queries=num_queries, num_heads=num_heads)
        require_divisor(encoder.hidden_size, num_heads=num_heads)
        self.num_heads = num_heads
        self.key = nn.Linear(encoder.hidden_size, encoder.hidden_size)
        self.queries = nn.Parameter(torch.empty(num_queries, encoder.hidden_size))
        nn.init.normal_(self.queries)
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(num_queries * encoder.hidden_size, num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        weights = self._attention(hidden_states, attention_mask).to(hidden_states.dtype)
        features = hidden_states.unflatten(-1, (self.num_heads, -1))  # [batch, seq, heads, width]
        pooled = torch.einsum("bhqs,bshw->bqhw", weights, features)
        return self.out(self.dropout(pooled.flatten(1)))

    def token_weights(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch seq"]:
        """Return the attention weights, averaged over attention heads and queries."""
        return self._attention(hidden_states, attention_mask).mean(dim=(1, 2))

    def _attention(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch heads queries seq"]:
        """Return the attention weights of each attention head and query, in float32."""
        # A token's features are divided evenly among the attention heads.
        split_shape = (self.num_heads, hidden_states.shape[-1] // self.num_heads)
        keys = self.key(hidden_states).tanh().unflatten(-1, split_shape)  # [batch, seq, heads, width]
        queries = self.queries.unflatten(-1, split_shape).to(keys.dtype)  # [queries, heads, width]
        scores = torch.einsum("bshw,qhw->bhqs", keys, queries) / split_shape[1] ** 0.5  # [batch, heads, queries, seq]
        weights = masked_softmax(scores.flatten(1, 2), attention_mask)  # [batch, heads * queries, seq]
        return weights.unflatten(1, (self.num_heads, -1))
