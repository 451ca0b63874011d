"""Merge the adapters of a trained model into its weights."""

from __future__ import annotations

import copy

from research.model.adapters import AdapterSettings, merge_adapters
from research.model.encoder_with_head import EncoderWithHead
from research.model.prompt_tuning import PROMPT_TUNING

NOT_EXPORTED = (
    "A model with prompt tuning cannot be exported: its virtual tokens are inputs, which cannot be merged into the "
    "weights. Predict with predict.py or research.load_model, or train other adapters, such as --peft lora."
)
"""Error message for models with prompt tuning."""


def without_adapters(model: EncoderWithHead) -> EncoderWithHead:
    """Return a model with the same outputs and without adapters: itself, or a copy with merged weights.

    The sum of each weight and its adapter is computed in float64 and rounded to float32 once.

    Raises:
        ValueError: if the adapters cannot be merged.
    """
    if model.config.adapters is None:
        return model
    if AdapterSettings.from_config(model.config.adapters).kind == PROMPT_TUNING:
        raise ValueError(NOT_EXPORTED)
    merged = copy.deepcopy(model).double()
    merge_adapters(merged.encoder)
    merged.config.adapters = None
    return merged.float()
