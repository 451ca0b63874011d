"""Merge the adapters of a trained model into its weights."""

from __future__ import annotations

import copy

from research.model.adapters import merge_adapters
from research.model.encoder_with_head import EncoderWithHead


def without_adapters(model: EncoderWithHead) -> EncoderWithHead:
    """Return a model with the same outputs and without adapters: itself, or a copy with merged weights.

    The sum of each weight and its adapter is computed in float64 and rounded to float32 once.
    """
    if model.config.adapters is None:
        return model
    merged = copy.deepcopy(model).double()
    merge_adapters(merged.encoder)
    merged.config.adapters = None
    return merged.float()
