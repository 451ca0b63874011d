"""What every head must be."""

from __future__ import annotations

import pytest

from heads.base import HEADS, Head, register_head


def test_head_that_wants_what_no_encoder_gives_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Wanting.*last_hidden_state.*all_hidden_states.*'all_hidden_layers'"):
        type("Wanting", (Head,), {"wants": "all_hidden_layers"})


def test_register_head_takes_heads_only() -> None:
    with pytest.raises(ValueError, match=r"no_head.* Head, .*int"):
        register_head("no_head")(int)
    assert "no_head" not in HEADS
