"""Base class of heads."""

from __future__ import annotations

from typing import Any

import pytest

from heads.base import HEADS, Head, register_head
from heads.linear import LinearHead


def test_head_class_with_an_unknown_value_of_wants_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"MyHead.*last_hidden_state.*all_hidden_states.*'all_hidden_layers'"):
        type("MyHead", (Head,), {"wants": "all_hidden_layers"})


def test_register_head_rejects_classes_that_are_not_heads() -> None:
    with pytest.raises(ValueError, match=r"no_head.* Head; .*int"):
        register_head("no_head")(int)
    assert "no_head" not in HEADS


def test_subclass_with_its_own_forward_does_not_inherit_the_pooling() -> None:
    class Renamed(LinearHead):
        pass

    class Rewritten(LinearHead):
        def forward(self, hidden_states: Any, attention_mask: Any) -> Any:
            return super().forward(hidden_states, attention_mask)

    class Declared(Rewritten):
        input_pooling = "masked_mean"

        def forward(self, hidden_states: Any, attention_mask: Any) -> Any:
            return super().forward(hidden_states, attention_mask)

    poolings = [head.input_pooling for head in (LinearHead, Renamed, Rewritten, Declared)]
    assert poolings == ["first_token", "first_token", None, "masked_mean"]
