"""Mean head, with results computed by hand."""

from __future__ import annotations

from heads.mean import MeanHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_mean_head_matches_logits_computed_by_hand() -> None:
    head = MeanHead(ENCODER_SPEC, 1).eval()
    set_output_layer(head, [[1.0, 10.0]], [0.0])
    # The tokens are (1, -2) and (3, 4).
    assert head(HIDDEN_STATES, MASK).item() == 2 + 10 * 1
