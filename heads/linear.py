"""Linear layer on the first token."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from heads.base import register_head
from heads.masking import first_token
from heads.pooled import PooledHead


@register_head("linear")
class LinearHead(PooledHead):
    """Dropout and a linear layer on the first token's hidden state.

    Source: Devlin et al. 2019, BERT. Differs: no pooler between the hidden state and the linear layer.

    Args:
        dropout: probability of dropping a feature before the linear layer.
    """

    input_pooling = "first_token"
    needs_first_token_to_see_all = True

    def pool(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch hidden"]:
        """See `PooledHead.pool`."""
        return first_token(hidden_states, attention_mask)
