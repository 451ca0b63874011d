"""Base class of heads that pool without learned parameters."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head
from heads.checks import require_probability
from heads.output_layer import OutputLayer


class PooledHead(Head):
    """Pooling, then dropout and a linear layer. Subclasses define the pooling.

    Args:
        dropout: probability of dropping a feature before the linear layer.
    """

    def __init__(self, encoder: EncoderSpec, num_labels: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        require_probability(dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(encoder.hidden_size, num_labels)

    def pool(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch hidden"]:
        """Return one vector per row."""
        raise NotImplementedError

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        return self.out(self.dropout(self.pool(hidden_states, attention_mask)))
