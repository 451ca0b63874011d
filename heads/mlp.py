"""Two linear layers on the first token."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.checks import require_positive, require_probability
from heads.masking import first_token
from heads.output_layer import OutputLayer


@register_head("mlp")
class MLPHead(Head):
    """Linear layer on the first token's hidden state, then ReLU, dropout and a second linear layer.

    Source: the head of common BERT fine-tuning tutorials, which also use 50 hidden units.

    Args:
        mlp_size: size of the hidden layer.
        dropout: probability of dropping a unit of the hidden layer.
    """

    input_pooling = "first_token"
    needs_first_token_to_see_all = True

    def __init__(self, encoder: EncoderSpec, num_labels: int, *, mlp_size: int = 50, dropout: float = 0.1) -> None:
        super().__init__()
        require_probability(dropout=dropout)
        require_positive(mlp_size=mlp_size)
        self.hidden = nn.Linear(encoder.hidden_size, mlp_size)  # torch's default initialisation suits a ReLU
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(mlp_size, num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        hidden = self.hidden(first_token(hidden_states, attention_mask)).relu()  # [batch, mlp_size]
        return self.out(self.dropout(hidden))
