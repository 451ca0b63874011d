"""Base class of heads with a bidirectional recurrent network."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head
from heads.masking import (
    first_token,
    last_token,
    masked_max,
    masked_mean,
    reorder,
    reversed_token_order,
    token_order,
)
from heads.output_layer import OutputLayer

Pooling = Literal["last", "mean", "max"]
Recurrent = TypeVar("Recurrent", bound="RecurrentHead")


class RecurrentHead(Head):
    """Two recurrent networks per layer (one per direction), then pooling, dropout and a linear layer.

    Each direction reads all tokens before any padding, so that padding does not affect the states of tokens. Packed
    sequences would have the same effect, but their backward pass takes over ten times as long on a CPU.

    Args:
        network_class: nn.LSTM or nn.GRU.
        encoder: properties of the encoder.
        num_labels: number of labels.
        state_size: hidden size of each direction.
        num_layers: number of stacked layers.
        dropout: probability of dropping a feature between layers and before the linear layer.
        pooling: how to pool the states over the tokens: "last" (final state of each direction), "mean" or "max".
    """

    def __init__(
        self,
        network_class: type[nn.LSTM] | type[nn.GRU],
        encoder: EncoderSpec,
        num_labels: int,
        *,
        state_size: int,
        num_layers: int,
        dropout: float,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        input_sizes = [encoder.hidden_size] + [2 * state_size] * (num_layers - 1)  # of each layer
        self.forwards = nn.ModuleList(network_class(size, state_size, batch_first=True) for size in input_sizes)
        self.backwards = nn.ModuleList(network_class(size, state_size, batch_first=True) for size in input_sizes)
        for network in (*self.forwards, *self.backwards):
            _initialise(network)
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.out = OutputLayer(2 * state_size, num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        order = token_order(attention_mask)
        mask = attention_mask.gather(1, order)  # all tokens, then all padding
        reverse = reversed_token_order(mask)  # applied twice, it restores the order
        states = reorder(hidden_states, order)
        for index, (forward_network, backward_network) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            inputs = self.dropout(states) if index else states
            forward_states = _run(forward_network, inputs)  # [batch, seq, state_size]
            backward_states = _run(backward_network, reorder(inputs, reverse))  # [batch, seq, state_size]
            states = torch.cat(
                [forward_states, reorder(backward_states, reverse)], dim=-1
            )  # [batch, seq, 2 * state_size]
        return self.out(self.dropout(self._pool(states, mask)))

    def train(self: Recurrent, mode: bool = True) -> Recurrent:
        """Set the mode of all modules except the recurrent networks, which stay in training mode.

        The recurrent networks contain no dropout, so the mode does not change their output. A frozen head is in
        evaluation mode, in which cuDNN could not propagate gradients through the recurrent networks to the encoder:
        https://github.com/pytorch/pytorch/issues/5878.
        """
        super().train(mode)
        self.forwards.train()
        self.backwards.train()
        return self

    def _pool(
        self, states: Float[Tensor, "batch seq width"], mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch width"]:
        if self.pooling == "mean":
            return masked_mean(states, mask)
        if self.pooling == "max":
            return masked_max(states, mask)
        forward_states, backward_states = states.chunk(2, dim=-1)
        # The backward network reads the first token last.
        return torch.cat([last_token(forward_states, mask), first_token(backward_states, mask)], dim=-1)


def _run(network: nn.Module, inputs: Float[Tensor, "batch seq features"]) -> Float[Tensor, "batch seq state_size"]:
    """Return the states of a network, which runs in the precision of its weights under bfloat16 autocast on CUDA.

    CUDA's autocast runs recurrent networks in float16 even if bfloat16 is requested (pytorch,
    aten/src/ATen/cudnn/AutocastRNN.cpp). Small float16 gradients would vanish, because bfloat16 runs do not scale the
    loss.
    """
    device = inputs.device.type
    if device == "cuda" and torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
        with torch.autocast(device, enabled=False):
            return network(inputs.to(next(network.parameters()).dtype))[0]
    return network(inputs)[0]


def _initialise(network: nn.RNNBase) -> None:
    """Make recurrent weights orthogonal, draw input weights with Glorot, and set forget biases to 1, other biases to 0.

    Source: Saxe et al. 2014 (orthogonal weights); Glorot & Bengio 2010; Jozefowicz et al. 2015 (forget bias of 1).
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
