"""GRU head, with results computed by hand."""

from __future__ import annotations

import math

import jaxtyping
import pytest
import torch

from heads.base import EncoderSpec
from heads.gru import GRUHead
from tests.heads.by_hand import ENCODER_SPEC, set_output_layer


def test_gru_head_matches_logits_computed_by_hand() -> None:
    spec = EncoderSpec(hidden_size=1, num_hidden_states=2)
    head = GRUHead(spec, 1, gru_size=1, pooling="last").eval()
    for network in (head.forwards[0], head.backwards[0]):
        for parameter in network.parameters():
            parameter.data.fill_(1.0)
    set_output_layer(head, [[1.0, 0.0]], [0.0])  # the logit is the final state of the forward network
    hidden = 0.0
    for value in (0.5, -1.0):
        # With all weights and biases 1, the reset gate and the update gate are equal.
        gate = 1 / (1 + math.exp(-(value + 1 + hidden + 1)))
        hidden = (1 - gate) * math.tanh(value + 1 + gate * (hidden + 1)) + gate * hidden
    assert head(torch.tensor([[[0.5], [-1.0]]]), torch.tensor([[1, 1]])).item() == pytest.approx(hidden, rel=1e-5)


def test_gru_head_rejects_an_unknown_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without this, jaxtyping, which is active only in tests, would raise its own error first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"pooling.* last, mean, max; got 'median'"):
        GRUHead(ENCODER_SPEC, 1, pooling="median")  # type: ignore[arg-type]
