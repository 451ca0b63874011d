"""LSTM head, with results computed by hand."""

from __future__ import annotations

import math
from typing import Literal

import jaxtyping
import pytest
import torch

from heads.base import EncoderSpec
from heads.lstm import LSTMHead
from tests.heads.by_hand import ENCODER_SPEC, set_output_layer


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
def test_lstm_head_matches_logits_computed_by_hand(pooling: Literal["last", "mean", "max"]) -> None:
    spec = EncoderSpec(hidden_size=1, num_hidden_states=2)
    head = LSTMHead(spec, 1, lstm_size=1, pooling=pooling).eval()
    for network in (head.forwards[0], head.backwards[0]):
        for parameter in network.parameters():
            parameter.data.fill_(1.0)
        network.get_parameter("bias_hh_l0").data.zero_()  # the sum of both biases is 1
    set_output_layer(head, [[1.0, 100.0]], [0.0])

    def run_lstm(inputs: list[float]) -> list[float]:
        hidden = cell = 0.0
        outputs = []
        for value in inputs:
            # With equal weights for all gates, the input, forget and output gates are equal.
            gate = 1 / (1 + math.exp(-(value + hidden + 1)))
            cell = gate * cell + gate * math.tanh(value + hidden + 1)
            hidden = gate * math.tanh(cell)
            outputs.append(hidden)
        return outputs

    forward_states, backward_states = run_lstm([0.5, -1.0]), run_lstm([-1.0, 0.5])
    expected = {
        "last": forward_states[-1] + 100 * backward_states[-1],
        "max": max(forward_states) + 100 * max(backward_states),
        "mean": sum(forward_states) / 2 + 100 * sum(backward_states) / 2,
    }[pooling]
    states = torch.tensor([[[7.0], [0.5], [-1.0], [8.0]]])  # padding, two tokens, padding
    assert head(states, torch.tensor([[0, 1, 1, 0]])).item() == pytest.approx(expected, rel=1e-5)


def test_lstm_head_rejects_an_unknown_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without this, jaxtyping, which is active only in tests, would raise its own error first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"pooling.* last, mean, max; got 'median'"):
        LSTMHead(ENCODER_SPEC, 1, pooling="median")  # type: ignore[arg-type]
