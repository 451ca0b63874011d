"""One linear layer on the first token."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.checks import require_probability
from heads.classifier import OutputLayer
from heads.masking import first_token


@register_head("linear")
class LinearHead(Head):
    """One linear layer on the first token's hidden state.

    Source: Devlin et al. 2019, BERT. Differs: no pooler between the two.

    Args:
        dropout: probability of dropping a feature before the linear layer.
    """

    def __init__(self, encoder: EncoderSpec, num_labels: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        require_probability(dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(encoder.hidden_size, num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        return self.out(self.dropout(first_token(hidden_states, attention_mask)))
