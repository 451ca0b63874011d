"""Maximum head, with results computed by hand."""

from __future__ import annotations

from heads.max import MaxHead
from tests.heads.by_hand import MASK, STATES, TWO, set_out


def test_max_head_by_hand() -> None:
    head = MaxHead(TWO, 1).eval()
    set_out(head, [[1.0, 10.0]], [0.0])
    assert head(STATES, MASK).item() == 3 + 10 * 4
