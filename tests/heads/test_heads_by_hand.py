"""One forward pass of each head, worked out by hand."""

from __future__ import annotations

import math
from typing import Literal

import jaxtyping
import pytest
import torch
from torch import nn

from heads import (
    HEADS,
    AttentionHead,
    CNNHead,
    EncoderSpec,
    GRUHead,
    Last4Head,
    LinearHead,
    LSTMHead,
    MaxHead,
    MeanHead,
    MLPHead,
    ScalarMixHead,
)

TWO = EncoderSpec(hidden_size=2, num_hidden_states=4)
STATES = torch.tensor([[[9.0, 9.0], [1.0, -2.0], [3.0, 4.0]]])
MASK = torch.tensor([[0, 1, 1]])  # the first place is padding


def set_out(head: nn.Module, weight: list[list[float]], bias: list[float]) -> None:
    head.get_parameter("out.weight").data = torch.tensor(weight)
    head.get_parameter("out.bias").data = torch.tensor(bias)


def test_linear_head_by_hand() -> None:
    head = LinearHead(TWO, 1).eval()
    set_out(head, [[2.0, 1.0]], [0.5])
    assert head(STATES, MASK).item() == 2 * 1 + 1 * -2 + 0.5


def test_mlp_head_by_hand() -> None:
    head = MLPHead(TWO, 1, mlp_size=2).eval()
    head.hidden.weight.data, head.hidden.bias.data = torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([0.0, 1.0])
    set_out(head, [[10.0, 1.0]], [0.0])
    assert head(STATES, MASK).item() == 10 * max(0, 1 - 2) + 1 * (1 + 2 + 1)


def test_mean_head_by_hand() -> None:
    head = MeanHead(TWO, 1).eval()
    set_out(head, [[1.0, 10.0]], [0.0])
    assert head(STATES, MASK).item() == 2 + 10 * 1


def test_max_head_by_hand() -> None:
    head = MaxHead(TWO, 1).eval()
    set_out(head, [[1.0, 10.0]], [0.0])
    assert head(STATES, MASK).item() == 3 + 10 * 4


def test_attention_head_by_hand() -> None:
    head = AttentionHead(TWO, 1).eval()
    head.key.weight.data, head.key.bias.data = torch.eye(2), torch.zeros(2)
    head.queries.data = torch.tensor([[1.0, 0.0]])
    set_out(head, [[1.0, 0.0]], [0.0])
    first, second = (math.exp(math.tanh(value) / math.sqrt(2)) for value in (1.0, 3.0))
    assert head(STATES, MASK).item() == pytest.approx((first * 1 + second * 3) / (first + second))


def test_attention_head_splits_features_among_heads() -> None:
    head = AttentionHead(TWO, 1, num_heads=2).eval()
    head.key.weight.data, head.key.bias.data = torch.eye(2), torch.zeros(2)
    head.queries.data = torch.tensor([[1.0, 1.0]])
    set_out(head, [[1.0, 100.0]], [0.0])
    gathered = []
    for feature in ((1.0, 3.0), (-2.0, 4.0)):
        weights = [math.exp(math.tanh(value)) for value in feature]
        gathered.append(sum(w * value for w, value in zip(weights, feature, strict=True)) / sum(weights))
    assert head(STATES, MASK).item() == pytest.approx(gathered[0] + 100 * gathered[1])


@pytest.mark.parametrize(("pooling", "pick"), [("last", -1), ("max", None), ("mean", None)])
def test_lstm_head_by_hand(pooling: Literal["last", "mean", "max"], pick: int | None) -> None:
    head = LSTMHead(EncoderSpec(1, 2), 1, lstm_size=1, pooling=pooling).eval()
    for network in (head.forwards[0], head.backwards[0]):
        for parameter in network.parameters():
            parameter.data.fill_(1.0)
        network.get_parameter("bias_hh_l0").data.zero_()
    set_out(head, [[1.0, 100.0]], [0.0])

    def run(inputs: list[float]) -> list[float]:
        hidden = cell = 0.0
        outputs = []
        for value in inputs:
            gate = 1 / (1 + math.exp(-(value + hidden + 1)))
            cell = gate * cell + gate * math.tanh(value + hidden + 1)
            hidden = gate * math.tanh(cell)
            outputs.append(hidden)
        return outputs

    ahead, back = run([0.5, -1.0]), run([-1.0, 0.5])
    expected = {
        "last": ahead[-1] + 100 * back[-1],
        "max": max(ahead) + 100 * max(back),
        "mean": sum(ahead) / 2 + 100 * sum(back) / 2,
    }[pooling]
    states = torch.tensor([[[7.0], [0.5], [-1.0], [8.0]]])
    assert head(states, torch.tensor([[0, 1, 1, 0]])).item() == pytest.approx(expected, rel=1e-5)


def test_recurrent_heads_agree_with_packed_bidirectional_networks() -> None:
    spec = EncoderSpec(6, 2)
    states = torch.randn(3, 8, 6)
    lengths = torch.tensor([8, 3, 1])
    mask = (torch.arange(8) < lengths[:, None]).long()
    for head, cell in (
        (LSTMHead(spec, 2, lstm_size=8, num_layers=2, pooling="last"), nn.LSTM),
        (GRUHead(spec, 2, gru_size=8, num_layers=2, pooling="last"), nn.GRU),
    ):
        head.eval()
        size = head.out.in_features // 2
        reference = cell(6, size, num_layers=2, batch_first=True, bidirectional=True)
        for layer, (ahead, back) in enumerate(zip(head.forwards, head.backwards, strict=True)):
            for own, theirs in ((ahead, f"l{layer}"), (back, f"l{layer}_reverse")):
                for name, parameter in own.named_parameters():
                    getattr(reference, name.replace("l0", theirs)).data = parameter.data
        packed = nn.utils.rnn.pack_padded_sequence(states, lengths, batch_first=True)
        last = reference(packed)[1]
        last = (last[0] if cell is nn.LSTM else last)[-2:]  # the top layer's two directions
        torch.testing.assert_close(head(states, mask), head.out(torch.cat([last[0], last[1]], dim=-1)))


def test_gru_head_by_hand() -> None:
    head = GRUHead(EncoderSpec(1, 2), 1, gru_size=1, pooling="last").eval()
    for network in (head.forwards[0], head.backwards[0]):
        for parameter in network.parameters():
            parameter.data.fill_(1.0)
    set_out(head, [[1.0, 0.0]], [0.0])
    hidden = 0.0
    for value in (0.5, -1.0):
        gate = 1 / (1 + math.exp(-(value + 1 + hidden + 1)))
        hidden = (1 - gate) * math.tanh(value + 1 + gate * (hidden + 1)) + gate * hidden
    assert head(torch.tensor([[[0.5], [-1.0]]]), torch.tensor([[1, 1]])).item() == pytest.approx(hidden, rel=1e-5)


def test_cnn_head_by_hand() -> None:
    head = CNNHead(TWO, 1, num_filters=1, kernel_sizes=(2,)).eval()
    (convolution,) = head.convolutions
    convolution.weight.data = torch.tensor([[[1.0, 10.0], [0.0, 1.0]]])  # [filter, feature, place]
    convolution.bias.data = torch.zeros(1)
    set_out(head, [[1.0]], [0.0])
    # tokens (1, -2), (3, 4), then zeros
    places = [1 * 1 + 10 * 3 + 1 * 4, 1 * 3]
    assert head(STATES, MASK).item() == max(places)


def test_scalar_mix_head_by_hand() -> None:
    head = ScalarMixHead(TWO, 1).eval()
    head.mixture.data = torch.tensor([0.0, 0.0, 0.0, math.log(3.0)])
    head.gamma.data = torch.tensor(2.0)
    set_out(head, [[1.0, 0.0]], [0.0])
    layers = tuple(STATES * factor for factor in (1.0, 2.0, 3.0, 4.0))
    assert head(layers, MASK).item() == pytest.approx(2 * 2 * (1 + 2 + 3 + 3 * 4) / 6)


def test_last4_head_by_hand() -> None:
    head = Last4Head(TWO, 1).eval()
    set_out(head, [[1.0, 0.0, 10.0, 0.0, 100.0, 0.0, 1000.0, 0.0]], [0.0])
    layers = tuple(STATES * factor for factor in (9.0, 1.0, 2.0, 3.0, 4.0))
    assert head(layers, MASK).item() == 1 + 20 + 300 + 4000


@pytest.mark.parametrize(("pooling", "feature"), [("first", 1.0), ("mean", 2.0), ("max", 3.0)])
def test_last4_head_pools_by_hand(pooling: Literal["first", "mean", "max"], feature: float) -> None:
    head = Last4Head(TWO, 1, pooling=pooling).eval()
    set_out(head, [[1.0, 0.0, 10.0, 0.0, 100.0, 0.0, 1000.0, 0.0]], [0.0])
    assert head((STATES,) * 4, MASK).item() == 1111 * feature


def test_last4_head_refuses_a_shallow_encoder() -> None:
    with pytest.raises(ValueError, match="needs an encoder with 4 hidden states, got 3"):
        Last4Head(EncoderSpec(2, 3), 1)


def test_attention_head_refuses_heads_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="must divide the hidden size 2, got 3"):
        AttentionHead(TWO, 1, num_heads=3)


@pytest.mark.parametrize("name", ["gru", "last4", "lstm"])
def test_heads_refuse_a_pooling_that_they_do_not_know(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside these tests
    with pytest.raises(ValueError, match=r"Expected pooling to be one of \w+, mean, max, got 'median'\."):
        HEADS[name](TWO, 1, pooling="median")
