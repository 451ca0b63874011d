"""MLP head, with results computed by hand."""

from __future__ import annotations

import torch

from heads.mlp import MLPHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_mlp_head_matches_logits_computed_by_hand() -> None:
    head = MLPHead(ENCODER_SPEC, 1, mlp_size=2).eval()
    head.hidden.weight.data, head.hidden.bias.data = torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([0.0, 1.0])
    set_output_layer(head, [[10.0, 1.0]], [0.0])
    # The first token is (1, -2).
    assert head(HIDDEN_STATES, MASK).item() == 10 * max(0, 1 - 2) + 1 * (1 + 2 + 1)
