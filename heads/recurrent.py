"""A bidirectional recurrent network over the tokens, for the heads built on one."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head
from heads.classifier import linear_layer
from heads.masking import masked_max, masked_mean, reversed_token_order, take_places, token_order

Pooling = Literal["last", "mean", "max"]


class RecurrentHead(Head):
    """Two recurrent networks per layer, one on the tokens in order and one on them reversed; pooling, dropout, linear.

    Reordering moves the padding behind the tokens in both directions, so that it is never read before one. Packed
    sequences would do the same, but their backward pass on a CPU takes over ten times as long.

    Args:
        cell: nn.LSTM or nn.GRU.
        encoder: what the encoder gives.
        num_labels: width of the logits.
        size: width of each direction.
        num_layers: layers on top of each other.
        dropout: probability of dropping a feature between layers and before the linear layer.
        pooling: what of the states is kept: the last of each direction, their mean, or their maximum.
    """

    def __init__(
        self,
        cell: type[nn.LSTM] | type[nn.GRU],
        encoder: EncoderSpec,
        num_labels: int,
        *,
        size: int,
        num_layers: int,
        dropout: float,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        widths = [encoder.hidden_size] + [2 * size] * (num_layers - 1)
        self.forwards = nn.ModuleList(cell(width, size, batch_first=True) for width in widths)
        self.backwards = nn.ModuleList(cell(width, size, batch_first=True) for width in widths)
        for network in (*self.forwards, *self.backwards):
            _initialise(network)
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.out = linear_layer(2 * size, num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        order = token_order(attention_mask)
        mask = attention_mask.gather(1, order)  # tokens first
        turn = reversed_token_order(mask)  # it is its own inverse
        states = take_places(hidden_states, order)
        for index, (forwards, backwards) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            inputs = self.dropout(states) if index else states
            ahead = forwards(inputs)[0]  # [batch, seq, size]
            back = take_places(backwards(take_places(inputs, turn))[0], turn)
            states = torch.cat([ahead, back], dim=-1)  # [batch, seq, 2 * size]
        return self.out(self.dropout(self._pool(states, mask)))

    def _pool(
        self, states: Float[Tensor, "batch seq width"], mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch width"]:
        if self.pooling == "mean":
            return masked_mean(states, mask)
        if self.pooling == "max":
            return masked_max(states, mask)
        ahead, back = states.chunk(2, dim=-1)
        rows = torch.arange(len(mask), device=mask.device)
        last = (mask.sum(dim=1) - 1).clamp_min(0)
        return torch.cat([ahead[rows, last], back[:, 0]], dim=-1)


def _initialise(network: nn.RNNBase) -> None:
    """Initialise as is usual: orthogonal recurrent weights, Glorot input weights, forget gates open.

    Source: Saxe et al. 2014 (orthogonal); Jozefowicz et al. 2015 (a forget bias of 1).
    """
    for name, parameter in network.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.chunk(parameter.shape[0] // network.hidden_size):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
            if isinstance(network, nn.LSTM) and name.startswith("bias_ih"):
                nn.init.ones_(parameter[network.hidden_size : 2 * network.hidden_size])
