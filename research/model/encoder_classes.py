"""Build encoders from their configs: without a pooler, and without the decoder of an encoder-decoder."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import AutoModel, AutoModelForTextEncoding, PretrainedConfig, PreTrainedModel

_UNSUPPORTED = {
    "canine": "their hidden states depend on padding, and their layers have sequences of different lengths",
    "fnet": "they read no attention mask, so that their hidden states depend on padding",
    "reformer": "they train only on inputs of one fixed length",
}
"""Why encoders of a family cannot be used."""


def build_encoder(config: PretrainedConfig) -> PreTrainedModel:
    """Return an encoder with random weights.

    Args:
        config: the encoder's config, or the config of an encoder-decoder.
    """
    encoder_class = _model_class(config)
    if is_part_of_model(config):
        # The encoder's class is only known to a whole model, which costs nothing on the meta device.
        with torch.device("meta"):
            encoder_class = type(encoder_class._from_config(config).get_encoder())
    encoder: PreTrainedModel = encoder_class._from_config(config, **pooler_arguments(config))
    return encoder


def hidden_size_of(config: PretrainedConfig) -> int:
    """Return the size of the last hidden states of an encoder."""
    size: int = getattr(config, "word_embed_proj_dim", config.hidden_size)  # OPT-350M projects its last hidden states
    return size


def encoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model's encoder: a part of an encoder-decoder, otherwise the model itself."""
    encoder: PreTrainedModel = model.get_encoder() if is_part_of_model(model.config) else model
    return encoder


def is_part_of_model(config: PretrainedConfig) -> bool:
    """Return whether the encoder is loaded as a part of an encoder-decoder, because it has no class of its own."""
    return config.is_encoder_decoder and not _has_text_encoder_class(config)


def auto_class(config: PretrainedConfig) -> Any:
    """Return the class of Transformers that loads an encoder."""
    return AutoModelForTextEncoding if _has_text_encoder_class(config) else AutoModel


def _has_text_encoder_class(config: PretrainedConfig) -> bool:
    """Return whether a config is that of an encoder-decoder whose encoder has a class of its own (T5).

    `config.is_encoder_decoder` is no evidence, because that class sets it to False.
    """
    encoder_classes = AutoModelForTextEncoding._model_mapping
    return (
        type(config) in encoder_classes
        and encoder_classes[type(config)] is not AutoModel._model_mapping[type(config)]
        and config.get_text_config() is config  # not a model of texts and images
    )


def pooler_arguments(config: PretrainedConfig) -> dict[str, bool]:
    """Return the arguments with which a model class adds no pooler, since no head uses one."""
    if is_part_of_model(config):
        return {}
    parameters = inspect.signature(_model_class(config)).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}


def check_is_text_encoder(config: PretrainedConfig) -> None:
    """Raise ValueError if a model does not turn token ids into hidden states, or cannot be trained on texts."""
    reason = _UNSUPPORTED.get(config.model_type)
    model_class = _model_class(config)
    takes_tokens = {"input_ids", "attention_mask"} <= inspect.signature(model_class.forward).parameters.keys()
    if reason is None and not takes_tokens:
        reason = f"their inputs are not token ids with an attention mask ({model_class.__name__})"
    if reason is not None:
        raise ValueError(f"encoders of the family '{config.model_type}' are not supported: {reason}")


def _model_class(config: PretrainedConfig) -> Any:
    """Return the model class of a config.

    Raises:
        ValueError: if Transformers has no model without a head of the config's family.
    """
    mapping = auto_class(config)._model_mapping
    if type(config) not in mapping:
        raise ValueError(f"Transformers has no model without a head of the family '{config.model_type}'")
    model_class = mapping[type(config)]
    # There are several classes for one config (Funnel); the first is the default.
    return model_class[0] if isinstance(model_class, tuple) else model_class
