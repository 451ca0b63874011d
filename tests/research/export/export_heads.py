"""Heads of a user, of which only some can be exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from heads import EncoderSpec, Head, register_head
from heads.masking import masked_mean


class _MeanHead(Head):
    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.out = nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.out(masked_mean(hidden_states, attention_mask))


@register_head("two_networks")
class TwoNetworksHead(_MeanHead):
    """A network of each kind, with several layers and both directions in one module; padding is not masked."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        half = encoder.hidden_size // 2
        options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
        self.lstm = nn.LSTM(encoder.hidden_size, half, **options)
        self.gru = nn.GRU(encoder.hidden_size, half, bias=False, **options)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        states, (last, _) = self.lstm(hidden_states)
        return super().forward(self.gru(states)[0], attention_mask) + last.sum(dim=(0, 2)).unsqueeze(1)


@register_head("looks_at_values")
class LooksAtValuesHead(_MeanHead):
    """A head with a branch that depends on the values of its input, which cannot be traced."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        logits = super().forward(hidden_states, attention_mask)
        return logits if attention_mask.sum() > 2 else -logits


@register_head("fixed_length")
class FixedLengthHead(_MeanHead):
    """A head whose trace accepts only the example's length."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return super().forward(hidden_states / len(hidden_states[0]), attention_mask)


@register_head("counts_calls")
class CountsCallsHead(_MeanHead):
    """A head whose trace contains a Python number that changes with every call."""

    num_calls = 0

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        self.num_calls += 1
        return super().forward(hidden_states, attention_mask) + self.num_calls


@register_head("untranslated")
class UntranslatedHead(_MeanHead):
    """A head with an operation that torch.export can trace, but that ONNX lacks."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return super().forward(torch.special.bessel_j0(hidden_states), attention_mask)
