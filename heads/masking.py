"""Pooling and reordering with an attention mask: padding is ignored, wherever it is in the row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from heads.precision import without_autocast


def first_token(
    hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch hidden"]:
    """Return the hidden state of each row's first token; 0 for a row without tokens."""
    return take_one_per_row(hidden_states, attention_mask, attention_mask.argmax(dim=1))  # argmax finds the first 1


def last_token(
    hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch hidden"]:
    """Return the hidden state of each row's last token; 0 for a row without tokens."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return take_one_per_row(hidden_states, attention_mask, (attention_mask * positions).argmax(dim=1))


def masked_mean(
    hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch hidden"]:
    """Return the mean over tokens; 0 for a row without tokens."""
    return _weighted_mean(hidden_states, attention_mask)


def position_weighted_mean(
    hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch hidden"]:
    """Return the mean over tokens, in which the i-th token has a weight proportional to i; 0 for a row without tokens.

    The first token has i = 1. Padding does not count.
    """
    return _weighted_mean(hidden_states, attention_mask.cumsum(dim=1) * attention_mask)


def _weighted_mean(
    hidden_states: Float[Tensor, "batch seq hidden"], weights: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch hidden"]:
    """Return the mean with weights that need not sum to 1; 0 for a row in which all weights are 0.

    The mean is computed in the precision of the hidden states even under autocast: 1/200, for example, has an error of
    0.1% in bfloat16.
    """
    total = weights.sum(dim=1, keepdim=True).clamp_min(1)  # [batch, 1]
    # Divide before summing: the sum over a long row may overflow float16.
    shares = (weights / total).to(hidden_states.dtype).unsqueeze(1)  # [batch, 1, seq]
    with without_autocast(hidden_states.device.type):
        return (shares @ hidden_states).squeeze(1)


def masked_max(
    hidden_states: Float[Tensor, "batch seq hidden"], attention_mask: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch hidden"]:
    """Return the maximum over tokens; 0 for a row without tokens."""
    padding = attention_mask.eq(0).unsqueeze(-1)  # [batch, seq, 1]
    maximum = hidden_states.masked_fill(padding, torch.finfo(hidden_states.dtype).min).amax(dim=1)
    return maximum.masked_fill(padding.all(dim=1), 0.0)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "first_token": first_token,
    "last_token": last_token,
    "masked_mean": masked_mean,
    "position_weighted_mean": position_weighted_mean,
    "masked_max": masked_max,
}
"""Poolings over tokens by name. The result for a row with a single token is that token's hidden state."""


def masked_softmax(
    scores: Float[Tensor, "batch queries seq"], attention_mask: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch queries seq"]:
    """Return the softmax over tokens, computed in float32; 0 on padding and for rows without tokens."""
    padding = attention_mask.eq(0).unsqueeze(1)  # [batch, 1, seq]
    scores = scores.float().masked_fill(padding, torch.finfo(torch.float32).min)
    return scores.softmax(dim=-1).masked_fill(padding, 0.0)


def token_order(attention_mask: Int[Tensor, "batch seq"]) -> Int[Tensor, "batch seq"]:
    """Return the positions of each row's tokens in order, followed by those of its padding."""
    return _sort_positions(attention_mask, direction=1)


def reversed_token_order(attention_mask: Int[Tensor, "batch seq"]) -> Int[Tensor, "batch seq"]:
    """Return the positions of each row's tokens in reverse order, followed by those of its padding."""
    return _sort_positions(attention_mask, direction=-1)


def _sort_positions(attention_mask: Int[Tensor, "batch seq"], *, direction: int) -> Int[Tensor, "batch seq"]:
    """Return the positions of each row's tokens in a direction (1 or -1), followed by those of its padding in order."""
    num_positions = attention_mask.shape[1]
    positions = torch.arange(num_positions, device=attention_mask.device)
    # No two keys are equal, because ONNX has no stable sort.
    return torch.where(attention_mask.ne(0), direction * positions, num_positions + positions).argsort(dim=1)


def take_one_per_row(
    hidden_states: Float[Tensor, "batch seq hidden"],
    attention_mask: Int[Tensor, "batch seq"],
    positions: Int[Tensor, " batch"],
) -> Float[Tensor, "batch hidden"]:
    """Return the hidden state at one position per row; 0 if the position is padding."""
    rows = torch.arange(positions.shape[0], device=positions.device)
    return hidden_states[rows, positions].masked_fill(attention_mask[rows, positions].eq(0).unsqueeze(-1), 0.0)


def reorder(
    hidden_states: Float[Tensor, "batch seq hidden"], order: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch seq hidden"]:
    """Return each row's hidden states in the given order of positions."""
    num_rows, num_positions = order.shape
    starts = torch.arange(num_rows, device=order.device).unsqueeze(1) * num_positions  # [batch, 1]
    # Copies whole hidden states, which is over five times as fast on a CPU as a gather, which copies single numbers.
    reordered = hidden_states.flatten(0, 1).index_select(0, (starts + order).flatten())
    return reordered.view(hidden_states.shape)
