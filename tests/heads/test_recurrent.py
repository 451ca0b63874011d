"""Base class of recurrent heads."""

from __future__ import annotations

import torch
from torch import nn

from heads.base import EncoderSpec
from heads.gru import GRUHead
from heads.lstm import LSTMHead

SPEC = EncoderSpec(hidden_size=6, num_hidden_states=2)


def test_recurrent_heads_match_bidirectional_networks_on_packed_sequences() -> None:
    states = torch.randn(3, 8, 6)
    lengths = torch.tensor([8, 3, 1])
    mask = (torch.arange(8) < lengths[:, None]).long()
    for head, network_class in (
        (LSTMHead(SPEC, 2, lstm_size=8, num_layers=2, pooling="last"), nn.LSTM),
        (GRUHead(SPEC, 2, gru_size=8, num_layers=2, pooling="last"), nn.GRU),
    ):
        head.eval()
        hidden_size = head.out.in_features // 2
        reference = network_class(6, hidden_size, num_layers=2, batch_first=True, bidirectional=True)
        for layer, (forward_network, backward_network) in enumerate(zip(head.forwards, head.backwards, strict=True)):
            for network, suffix in ((forward_network, f"l{layer}"), (backward_network, f"l{layer}_reverse")):
                for name, parameter in network.named_parameters():  # weight_ih_l0 may become weight_ih_l1_reverse
                    getattr(reference, name.replace("l0", suffix)).data = parameter.data
        packed = nn.utils.rnn.pack_padded_sequence(states, lengths, batch_first=True)
        final_states = reference(packed)[1]
        final_hidden = final_states[0] if network_class is nn.LSTM else final_states  # an LSTM returns its cells, too
        forward_hidden, backward_hidden = final_hidden[-2:]  # the top layer's two directions
        torch.testing.assert_close(head(states, mask), head.out(torch.cat([forward_hidden, backward_hidden], dim=-1)))


def test_frozen_recurrent_head_keeps_its_networks_in_training_mode() -> None:
    """The reason is that cuDNN cannot propagate gradients through a recurrent network in evaluation mode."""
    head = LSTMHead(SPEC, 2, lstm_size=8, num_layers=2).eval()
    assert not head.dropout.training
    assert not head.out.training
    networks = [*head.forwards, *head.backwards]
    assert [network.training for network in networks] == [True] * 4


def test_recurrent_networks_start_with_orthogonal_weights_and_forget_biases_of_one() -> None:
    (network,) = LSTMHead(SPEC, 2, lstm_size=8).forwards
    for gate in network.get_parameter("weight_hh_l0").chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(8), rtol=0, atol=1e-5)
    bias = network.get_parameter("bias_ih_l0") + network.get_parameter("bias_hh_l0")
    assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16  # gates: input, forget, cell, output
    (network,) = GRUHead(SPEC, 2, gru_size=8).forwards
    assert (network.get_parameter("bias_ih_l0") + network.get_parameter("bias_hh_l0")).abs().sum() == 0
