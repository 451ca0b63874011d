"""The inputs with which an encoder is called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor, nn


def accepted_inputs(encoder: nn.Module) -> frozenset[str]:
    """Return the names of the inputs that an encoder's `forward` takes."""
    return frozenset(inspect.signature(type(encoder).forward).parameters)


def complete_inputs(
    inputs: Mapping[str, Tensor | None],
    attention_mask: Int[Tensor, "batch seq"],
    accepted: frozenset[str],
    first_position: int | None,
) -> dict[str, Tensor]:
    """Return the inputs that the encoder takes, with those that follow from the attention mask.

    Position ids count the tokens of each row, wherever padding is. Many encoders would count from the left end of the
    padded row. An encoder with global attention (Longformer) gets it for the first token of each row, as in Beltagy et
    al. 2020, Longformer, section 6.

    Args:
        inputs: input_ids or inputs_embeds, token_type_ids and position_ids; those that are None are left out.
        attention_mask: 1 = token, 0 = padding, [batch, seq].
        accepted: names of the inputs that the encoder takes.
        first_position: position id of the first token of a row; None for an encoder that numbers positions itself.
    """
    given = {name: value for name, value in inputs.items() if value is not None and name in accepted}
    given["attention_mask"] = attention_mask
    counts = attention_mask.cumsum(1)  # [batch, seq], from 1 at the first token
    if first_position is not None and "position_ids" not in given:
        # Padding gets the first position, or the id below it, which such encoders reserve for padding.
        lowest = max(0, first_position - 1)
        given["position_ids"] = ((counts - 1 + first_position) * attention_mask).clamp_min(lowest)
    if "global_attention_mask" in accepted:
        given["global_attention_mask"] = attention_mask * counts.eq(1).to(attention_mask.dtype)
    return given


def as_attention_mask(mask: Tensor | None, tokens: Tensor) -> Int[Tensor, "batch seq"]:
    """Return an attention mask as integers: all 1 if there is none.

    Args:
        mask: 1 or True = token, [batch, seq]; None if there is no padding.
        tokens: input_ids, [batch, seq], or inputs_embeds, [batch, seq, hidden].
    """
    if mask is None:
        return torch.ones(tokens.shape[:2], dtype=torch.long, device=tokens.device)
    return mask.long() if mask.dtype == torch.bool or mask.is_floating_point() else mask
