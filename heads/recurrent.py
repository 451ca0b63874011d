"""Base class of heads with a bidirectional recurrent network."""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heads.base import EncoderSpec, Head
from heads.masking import masked_max, masked_mean, reversed_token_order, take_position, take_positions, token_order
from heads.output_layer import OutputLayer

Pooling = Literal["last", "mean", "max"]
Recurrent = TypeVar("Recurrent", bound="RecurrentHead")


class RecurrentHead(Head):
    """Two recurrent networks per layer (one per direction), pooling, dropout, linear layer.

    Tokens are reordered so that padding follows them in both directions and is never read before a token. Packed
    sequences would have the same effect, but their backward pass takes over ten times as long on a CPU.

    Args:
        cell: nn.LSTM or nn.GRU.
        encoder: properties of the encoder.
        num_labels: size of the logits.
        size: hidden size of each direction.
        num_layers: number of stacked layers.
        dropout: probability of dropping a feature between layers and before the linear layer.
        pooling: how to pool the states: the last one of each direction, their mean, or their maximum.
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
        self.out = OutputLayer(2 * size, num_labels)

    def forward(
        self, hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
    ) -> Float[Tensor, "batch labels"]:
        """See `Head.forward`."""
        order = token_order(attention_mask)
        mask = attention_mask.gather(1, order)  # tokens first
        reverse = reversed_token_order(mask)  # its own inverse
        states = take_positions(hidden_states, order)
        for index, (forwards, backwards) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            inputs = self.dropout(states) if index else states
            ahead = _run(forwards, inputs)  # [batch, seq, size]
            back = take_positions(_run(backwards, take_positions(inputs, reverse)), reverse)
            states = torch.cat([ahead, back], dim=-1)  # [batch, seq, 2 * size]
        return self.out(self.dropout(self._pool(states, mask)))

    def train(self: Recurrent, mode: bool = True) -> Recurrent:
        """Set the mode of all modules except the recurrent networks, which contain no dropout.

        A frozen head is in evaluation mode, in which cuDNN cannot propagate gradients to the encoder:
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
        ahead, back = states.chunk(2, dim=-1)
        last = (mask.sum(dim=1) - 1).clamp_min(0)  # [batch]
        return torch.cat([take_position(ahead, mask, last), take_position(back, mask, torch.zeros_like(last))], dim=-1)


def _run(network: nn.Module, inputs: Float[Tensor, "batch seq features"]) -> Float[Tensor, "batch seq size"]:
    """Return the states of a network, computed in the precision of its weights if autocast would use float16 instead.

    CUDA's autocast runs recurrent networks in float16 even if bfloat16 is requested, but without the loss scaling
    that keeps small float16 gradients from vanishing (pytorch, aten/src/ATen/cudnn/AutocastRNN.cpp).
    """
    device = inputs.device.type
    if device == "cuda" and torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
        with torch.autocast(device, enabled=False):
            return network(inputs.to(next(network.parameters()).dtype))[0]
    return network(inputs)[0]


def _initialise(network: nn.RNNBase) -> None:
    """Initialise as usual: orthogonal recurrent weights, Glorot input weights, a forget bias of 1, other biases 0.

    Source: Saxe et al. 2014 (orthogonal weights); Jozefowicz et al. 2015 (forget bias of 1).
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
