"""Attention head, with results computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from heads.attention import AttentionHead
from tests.heads.by_hand import MASK, STATES, TWO, set_out


def test_attention_head_by_hand() -> None:
    head = AttentionHead(TWO, 1).eval()
    head.key.weight.data, head.key.bias.data = torch.eye(2), torch.zeros(2)
    head.queries.data = torch.tensor([[1.0, 0.0]])
    set_out(head, [[1.0, 0.0]], [0.0])
    first, second = (math.exp(math.tanh(value) / math.sqrt(2)) for value in (1.0, 3.0))
    assert head(STATES, MASK).item() == pytest.approx((first * 1 + second * 3) / (first + second))


def test_attention_head_splits_features_among_heads() -> None:
    head = AttentionHead(TWO, 1, num_heads=2).eval()
    head.key.weight.data, head.key.bias.data = torch.eye(2), torch.zeros(2)
    head.queries.data = torch.tensor([[1.0, 1.0]])
    set_out(head, [[1.0, 100.0]], [0.0])
    gathered = []
    for feature in ((1.0, 3.0), (-2.0, 4.0)):
        weights = [math.exp(math.tanh(value)) for value in feature]
        gathered.append(sum(w * value for w, value in zip(weights, feature, strict=True)) / sum(weights))
    assert head(STATES, MASK).item() == pytest.approx(gathered[0] + 100 * gathered[1])


def test_attention_head_rejects_num_heads_that_do_not_divide_the_hidden_size() -> None:
    with pytest.raises(ValueError, match=r"num_heads.* 2; got 3"):
        AttentionHead(TWO, 1, num_heads=3)
