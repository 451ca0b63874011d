"""Attention head, with results computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from heads.attention import AttentionHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_attention_head_matches_logits_computed_by_hand() -> None:
    head = AttentionHead(ENCODER_SPEC, 1).eval()
    head.key.weight.data, head.key.bias.data = torch.eye(2), torch.zeros(2)
    head.queries.data = torch.tensor([[1.0, 0.0]])
    set_output_layer(head, [[1.0, 0.0]], [0.0])
    # The query reads the first feature of the tokens (1, -2) and (3, 4). Scores are divided by sqrt(width).
    first_weight, second_weight = (math.exp(math.tanh(value) / math.sqrt(2)) for value in (1.0, 3.0))
    assert head(HIDDEN_STATES, MASK).item() == pytest.approx(
        (first_weight * 1 + second_weight * 3) / (first_weight + second_weight)
    )


def test_attention_head_splits_features_among_its_attention_heads() -> None:
    head = AttentionHead(ENCODER_SPEC, 1, num_heads=2).eval()
    head.key.weight.data, head.key.bias.data = torch.eye(2), torch.zeros(2)
    head.queries.data = torch.tensor([[1.0, 1.0]])
    set_output_layer(head, [[1.0, 100.0]], [0.0])
    pooled = []
    # Each attention head reads one feature of both tokens. Its width is 1, so the scores are not scaled.
    for values in ((1.0, 3.0), (-2.0, 4.0)):
        weights = [math.exp(math.tanh(value)) for value in values]
        pooled.append(sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights))
    assert head(HIDDEN_STATES, MASK).item() == pytest.approx(pooled[0] + 100 * pooled[1])


def test_token_weights_are_attention_weights_averaged_over_attention_heads() -> None:
    head = AttentionHead(ENCODER_SPEC, 1, num_heads=2).eval()
    head.key.weight.data, head.key.bias.data = torch.eye(2), torch.zeros(2)
    head.queries.data = torch.tensor([[1.0, 1.0]])
    shares = []  # of the second token (3, 4) in each attention head; the first token is (1, -2)
    for first, second in ((1.0, 3.0), (-2.0, 4.0)):
        exponentials = [math.exp(math.tanh(value)) for value in (first, second)]
        shares.append(exponentials[1] / sum(exponentials))
    share = sum(shares) / 2
    weights = head.token_weights(HIDDEN_STATES, MASK)[0]
    assert weights[MASK[0] == 1].tolist() == pytest.approx([1 - share, share])
    assert weights[MASK[0] == 0].eq(0).all()


def test_attention_head_rejects_num_heads_that_do_not_divide_the_hidden_size() -> None:
    with pytest.raises(ValueError, match=r"num_heads.* 2; got 3"):
        AttentionHead(ENCODER_SPEC, 1, num_heads=3)
