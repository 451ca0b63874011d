"""Truncation of rows that are too long for the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def truncate(
    inputs: Mapping[str, Tensor], *, max_length: int, truncation: str, special_tokens: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Truncate rows as in training. All special tokens are kept.

    Of two texts, the longer one is truncated first, until both have the same length; then both are truncated equally.

    Args:
        inputs: input_ids, attention_mask and possibly token_type_ids, [batch, seq] each.
        max_length: maximum number of tokens in a row.
        truncation: part to keep of a text: `head` (its start), `tail` (its end) or `head_tail` (both in equal parts).
        special_tokens: `prefix` and `suffix`, the numbers of special tokens before and after the texts, and `between`,
            the ids of the special tokens between two texts (empty if rows are single texts).
    Returns:
        The inputs with at most max_length tokens in each row.
    """
    mask = inputs["attention_mask"]
    num_tokens = mask.sum(dim=1, keepdim=True)  # [batch, 1]
    if int(num_tokens.max()) <= max_length:
        return dict(inputs)
    index = mask.cumsum(dim=1) - 1  # position of each token in its row without padding, [batch, seq]
    prefix, between, suffix = special_tokens["prefix"], special_tokens["between"], special_tokens["suffix"]
    num_special = prefix + len(between) + suffix
    num_in_texts = (num_tokens - num_special).clamp_min(0)
    num_first = num_in_texts
    if between:
        starts = _find_first(inputs["input_ids"], between, index, mask.bool() & (index >= prefix))
        num_first = torch.minimum(starts - prefix, num_in_texts)
    num_second = num_in_texts - num_first
    kept_first, kept_second = _divide_room(num_first, num_second, max_length - num_special)
    dropped = _is_dropped(index - prefix, num_first, kept_first, truncation)
    dropped |= _is_dropped(index - prefix - num_first - len(between), num_second, kept_second, truncation)
    dropped |= mask.eq(0)
    # Sorting moves padding and dropped tokens to the side that is padded.
    if bool((mask[:, 0] < mask[:, -1]).any()):
        columns = dropped.eq(0).int().argsort(dim=1, stable=True)[:, -max_length:]
    else:
        columns = dropped.int().argsort(dim=1, stable=True)[:, :max_length]
    return {name: values.gather(1, columns) for name, values in inputs.items()}


def _is_dropped(position: Tensor, num_tokens: Tensor, num_kept: Tensor, truncation: str) -> Tensor:
    """Return which tokens of a text are dropped.

    Args:
        position: position of each token in the text, [batch, seq]; outside 0 to num_tokens - 1 for tokens that are not
            in the text.
        num_tokens: number of tokens of the text, [batch, 1].
        num_kept: number of tokens to keep, [batch, 1].
        truncation: part to keep.
    """
    num_from_start = {"head": num_kept, "tail": torch.zeros_like(num_kept), "head_tail": (num_kept + 1) // 2}[
        truncation
    ]
    return (position >= num_from_start) & (position < num_tokens - (num_kept - num_from_start))


def _divide_room(num_first: Tensor, num_second: Tensor, room: int) -> tuple[Tensor, Tensor]:
    """Return the number of tokens to keep of each text, [batch, 1] each."""
    shorter, longer = torch.minimum(num_first, num_second), torch.maximum(num_first, num_second)
    is_too_long = shorter + longer > room
    shorter = torch.where(is_too_long, shorter.clamp_max(room // 2), shorter)
    longer = torch.where(is_too_long, room - shorter, longer)
    first_is_longer = num_first > num_second
    return torch.where(first_is_longer, longer, shorter), torch.where(first_is_longer, shorter, longer)


def _find_first(input_ids: Tensor, wanted: list[int], index: Tensor, allowed: Tensor) -> Tensor:
    """Return the index at which a sequence of ids first starts in each row, [batch, 1]; seq if it does not.

    Args:
        input_ids: token ids, [batch, seq].
        wanted: the sequence.
        index: index of each token, [batch, seq].
        allowed: whether the sequence may start at a token, [batch, seq].
    """
    starts = allowed
    for offset, token in enumerate(wanted):
        starts = starts & input_ids.roll(-offset, dims=1).eq(token)
    return torch.where(starts, index, input_ids.shape[1]).amin(dim=1, keepdim=True)
