"""Latent attention head, with results computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from heads.latent import LatentHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def latent_head(*, num_heads: int) -> LatentHead:
    """Return a head with two latents, identities as projections, and an MLP that only applies GELU."""
    head = LatentHead(ENCODER_SPEC, 1, num_latents=2, num_heads=num_heads, mlp_ratio=1).eval()
    head.latents.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    for layer in (head.query, head.key, head.value, head.mlp[0], head.mlp[2]):
        assert isinstance(layer, nn.Linear)
        layer.weight.data = torch.eye(2)
        if layer.bias is not None:
            layer.bias.data.zero_()
    set_output_layer(head, [[1.0, 10.0]], [0.0])
    return head


def gelu(value: float) -> float:
    return value * (1 + math.erf(value / math.sqrt(2))) / 2


def test_latent_head_matches_logits_computed_by_hand() -> None:
    pooled = [0.0, 0.0]
    for token in ((1.0, -2.0), (3.0, 4.0)):
        # The latents are (1, 0) and (0, 2). Scores are divided by sqrt(width).
        exponentials = [math.exp(token[0] * 1 / math.sqrt(2)), math.exp(token[1] * 2 / math.sqrt(2))]
        weights = [exponential / sum(exponentials) for exponential in exponentials]
        pooled[0] += gelu(weights[0] * 1) / 2  # the mean over two tokens
        pooled[1] += gelu(weights[1] * 2) / 2
    assert latent_head(num_heads=1)(HIDDEN_STATES, MASK).item() == pytest.approx(pooled[0] + 10 * pooled[1])


def test_latent_head_splits_features_among_its_attention_heads() -> None:
    pooled = [0.0, 0.0]
    # Each attention head has one feature of both tokens and of both latents. Its width is 1, so scores are not scaled.
    for feature, (latents, tokens) in enumerate((((1.0, 0.0), (1.0, 3.0)), ((0.0, 2.0), (-2.0, 4.0)))):
        for token in tokens:
            exponentials = [math.exp(token * latent) for latent in latents]
            mixture = sum(exponential * latent for exponential, latent in zip(exponentials, latents, strict=True))
            pooled[feature] += gelu(mixture / sum(exponentials)) / 2
    assert latent_head(num_heads=2)(HIDDEN_STATES, MASK).item() == pytest.approx(pooled[0] + 10 * pooled[1])


def test_latent_head_rejects_num_heads_that_do_not_divide_the_hidden_size() -> None:
    with pytest.raises(ValueError, match=r"num_heads.* 2; got 3"):
        LatentHead(ENCODER_SPEC, 1, num_heads=3)
