"""Position-weighted mean head, with results computed by hand."""

from __future__ import annotations

import pytest

from heads.mean_last import MeanLastHead
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_mean_last_head_matches_logits_computed_by_hand() -> None:
    head = MeanLastHead(ENCODER_SPEC, 1).eval()
    set_output_layer(head, [[1.0, 10.0]], [0.0])
    # The tokens (1, -2) and (3, 4) have the weights 1/3 and 2/3.
    assert head(HIDDEN_STATES, MASK).item() == pytest.approx((1 + 2 * 3) / 3 + 10 * (-2 + 2 * 4) / 3)
