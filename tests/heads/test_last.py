"""Head on the last token, with results computed by hand."""

from __future__ import annotations

import torch

from heads.last import LastHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_last_head_matches_logits_computed_by_hand() -> None:
    head = LastHead(ENCODER_SPEC, 1).eval()
    set_output_layer(head, [[1.0, 10.0]], [0.0])
    # The last token is (3, 4).
    assert head(HIDDEN_STATES, MASK).item() == 3 + 10 * 4


def test_last_head_skips_padding_after_the_last_token() -> None:
    head = LastHead(ENCODER_SPEC, 1).eval()
    set_output_layer(head, [[1.0, 10.0]], [0.0])
    # The only token is (1, -2).
    assert head(HIDDEN_STATES, torch.tensor([[0, 1, 0]])).item() == 1 + 10 * -2
