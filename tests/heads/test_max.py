"""Maximum head, with results computed by hand."""

from __future__ import annotations

from heads.max import MaxHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_max_head_matches_logits_computed_by_hand() -> None:
    head = MaxHead(ENCODER_SPEC, 1).eval()
    set_output_layer(head, [[1.0, 10.0]], [0.0])
    # The tokens are (1, -2) and (3, 4).
    assert head(HIDDEN_STATES, MASK).item() == 3 + 10 * 4
