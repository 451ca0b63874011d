"""Compute the activations of layers a second time in the backward pass, instead of keeping them."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel


def enable_gradient_checkpointing(encoder: PreTrainedModel) -> None:
    """Make each layer of an encoder keep only its inputs for the backward pass, which computes the rest again.

    The gradients do not change: dropout drops the same units in both passes. Layers in evaluation mode, such as frozen
    ones, keep their activations.

    Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.

    Raises:
        ValueError: if Transformers does not support this for the family of the encoder.
    """
    if not encoder.supports_gradient_checkpointing:
        raise ValueError(
            f"Expected an encoder that supports --gradient_checkpointing, got one of the family "
            f"'{encoder.config.model_type}', for which Transformers has no gradient checkpointing. Set "
            "--gradient_checkpointing false, and reduce the memory with --micro_batch_size."
        )
    # Version 5.23 of Transformers renamed the method.
    enable: Any = getattr(encoder, "activation_checkpointing_enable", None) or encoder.gradient_checkpointing_enable
    # As PyTorch recommends: reentrant checkpointing may lose gradients if the inputs of a layer have none, as after
    # frozen embeddings.
    enable({"use_reentrant": False})
