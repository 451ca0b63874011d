"""Head on the last four layers, with results computed by hand."""

from __future__ import annotations

from typing import Literal

import jaxtyping
import pytest

from heads.base import EncoderSpec
from heads.last4 import Last4Head
from tests.heads.by_hand import ENCODER_SPEC, HIDDEN_STATES, MASK, set_output_layer


def test_last4_head_matches_logits_computed_by_hand() -> None:
    head = Last4Head(ENCODER_SPEC, 1).eval()
    set_output_layer(head, [[1.0, 0.0, 10.0, 0.0, 100.0, 0.0, 1000.0, 0.0]], [0.0])
    layers = tuple(HIDDEN_STATES * factor for factor in (9.0, 1.0, 2.0, 3.0, 4.0))  # five layers; the first is unused
    # The first feature of the first token is 1, times the factor of the layer.
    assert head(layers, MASK).item() == 1 + 20 + 300 + 4000


@pytest.mark.parametrize(("pooling", "feature"), [("first", 1.0), ("mean", 2.0), ("max", 3.0)])
def test_last4_head_pools_the_tokens_of_each_layer(pooling: Literal["first", "mean", "max"], feature: float) -> None:
    head = Last4Head(ENCODER_SPEC, 1, pooling=pooling).eval()
    set_output_layer(head, [[1.0, 0.0, 10.0, 0.0, 100.0, 0.0, 1000.0, 0.0]], [0.0])
    # The first features of the two tokens are 1 and 3. The weights of the four layers sum to 1111.
    assert head((HIDDEN_STATES,) * 4, MASK).item() == 1111 * feature


def test_last4_head_rejects_a_shallow_encoder() -> None:
    with pytest.raises(ValueError, match=r"'last4'.* 4 .* 3\. .*'scalar_mix'"):
        Last4Head(EncoderSpec(hidden_size=2, num_hidden_states=3), 1)


def test_last4_head_rejects_an_unknown_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without this, jaxtyping, which is active only in tests, would raise its own error first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"pooling.* first, mean, max; got 'median'"):
        Last4Head(ENCODER_SPEC, 1, pooling="median")  # type: ignore[arg-type]
