"""Mean head, with results computed by hand."""

from __future__ import annotations

from heads.mean import MeanHead
from tests.heads.by_hand import MASK, STATES, TWO, set_out


def test_mean_head_by_hand() -> None:
    head = MeanHead(TWO, 1).eval()
    set_out(head, [[1.0, 10.0]], [0.0])
    assert head(STATES, MASK).item() == 2 + 10 * 1
