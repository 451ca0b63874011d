"""Linear layer on the last token."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from heads.base import register_head
from heads.masking import last_token
from heads.pooled import PooledHead


@register_head("last")
class LastHead(PooledHead):
    """Dropout and a linear layer on the last token's hidden state.

    In a decoder with a causal attention mask, only the last token reads the whole row.

    Source: Radford et al. 2018, Improving Language Understanding by Generative Pre-Training (GPT), section 3.2.
    Differs: the last token is the last one that the tokenizer gives; no special token is added to the row.

    Args:
        dropout: probability of dropping a feature before the linear layer.
    """

    input_pooling = "last_token"

    def pool(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch hidden"]:
        """See `PooledHead.pool`."""
        return last_token(hidden_states, attention_mask)
