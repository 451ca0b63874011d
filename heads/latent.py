"""Attention of the tokens to a trained latent array."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head, register_head
from heads.checks import require_divisor, require_positive, require_probability
from heads.masking import masked_mean
from heads.output_layer import OutputLayer


@register_head("latent")
class LatentHead(Head):
    """Latent attention: tokens attend to a trained latent array, then an MLP, the mean over tokens and a linear layer.

    The latent array is a dictionary of vectors: each token is replaced by a mixture of them. The MLP consists of two
    linear layers with a GELU in between.

    Source: Lee et al. 2024, NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models, section
    3.2. Differs: queries, keys and values are linear projections, as in Vaswani et al. 2017, and scores are scaled;
    equation 1 omits both. The size of the MLP's hidden layer, which the paper does not give, is `mlp_ratio` times the
    encoder's hidden size.

    Args:
        num_latents: number of vectors in the latent array.
        num_heads: number of attention heads; the encoder's hidden size must be divisible by it.
        mlp_ratio: size of the MLP's hidden layer, as a multiple of the encoder's hidden size.
        dropout: probability of dropping a feature before the output layer.
    """

    def __init__(
        self,
        encoder: EncoderSpec,
        num_labels: int,
        *,
        num_latents: int = 512,
        num_heads: int = 8,
        mlp_ratio: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        size = encoder.hidden_size
        require_probability(dropout=dropout)
        require_positive(num_latents=num_latents, num_heads=num_heads, mlp_ratio=mlp_ratio)
        require_divisor(size, num_heads=num_heads)
        self.num_heads = num_heads
        self.latents = nn.Parameter(torch.empty(num_latents, size))
        nn.init.normal_(self.latents)
        # A bias of the keys would have no effect: it adds the same number to all scores of a token.
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)
        self.mlp = nn.Sequential(nn.Linear(size, mlp_ratio * size), nn.GELU(), nn.Linear(mlp_ratio * size, size))
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(size, num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        mixtures = self._attend_to_latents(hidden_states)
        return self.out(self.dropout(masked_mean(self.mlp(mixtures), attention_mask)))

    def _attend_to_latents(self, hidden_states: Float[Tensor, "batch seq hidden"]) -> Float[Tensor, "batch seq hidden"]:
        """Return each token's mixture of the latent array. No mask is needed, since the latent array has no padding."""
        split_shape = (self.num_heads, -1)
        queries = self.query(hidden_states).unflatten(-1, split_shape)  # [batch, seq, heads, width]
        keys = self.key(self.latents).unflatten(-1, split_shape)  # [latents, heads, width]
        values = self.value(self.latents).unflatten(-1, split_shape)  # [latents, heads, width]
        scores = torch.einsum("bshw,lhw->bhsl", queries, keys) / keys.shape[-1] ** 0.5  # [batch, heads, seq, latents]
        weights = scores.float().softmax(dim=-1).to(values.dtype)
        return torch.einsum("bhsl,lhw->bshw", weights, values).flatten(2)
