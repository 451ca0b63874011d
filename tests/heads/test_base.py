"""Base class of heads."""

from __future__ import annotations

import pytest

from heads.base import HEADS, Head, register_head


def test_head_class_with_an_unknown_value_of_wants_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"MyHead.*last_hidden_state.*all_hidden_states.*'all_hidden_layers'"):
        type("MyHead", (Head,), {"wants": "all_hidden_layers"})


def test_register_head_rejects_classes_that_are_not_heads() -> None:
    with pytest.raises(ValueError, match=r"no_head.* Head; .*int"):
        register_head("no_head")(int)
    assert "no_head" not in HEADS
