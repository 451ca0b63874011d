"""Linear head, with results computed by hand."""

from __future__ import annotations

from heads.linear import LinearHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_linear_head_matches_logits_computed_by_hand() -> None:
    head = LinearHead(ENCODER_SPEC, 1).eval()
    set_output_layer(head, [[2.0, 1.0]], [0.5])
    # The tokens are (1, -2) and (3, 4).
    assert head(HIDDEN_STATES, MASK).item() == 2 * 1 + 1 * -2 + 0.5
