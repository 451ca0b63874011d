"""Models that equal one of Transformers' own classes for sequence classification.

These classes have a layer with an activation between the first token's hidden state and the output layer. Where the
activation is the identity, that layer becomes the identity. ReLU and GELU satisfy f(x) - f(-x) = x, so a linear layer
is exactly representable by two hidden units per label.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from heads.base import Head
from heads.linear import LinearHead
from heads.mlp import MLPHead
from research.export.hub_folder import save_weights, write_tokenizer
from research.inference.saved_model import SavedModel
from research.model.encoder_with_head import EncoderWithHead


@dataclass(frozen=True)
class _NativeClass:
    """A class of Transformers: first token, hidden layer, activation, output layer."""

    name: str
    """Name of the class."""
    encoder: str
    """Attribute of the encoder."""
    hidden: str
    """Module of the hidden layer, which has as many units as the encoder."""
    output: str
    """Module of the output layer."""
    activation: str | None
    """The activation; None if the config's `pooler_hidden_act` determines it."""


_CLASSES = {
    "deberta-v2": _NativeClass("DebertaV2ForSequenceClassification", "deberta", "pooler.dense", "classifier", None),
    "distilbert": _NativeClass(
        "DistilBertForSequenceClassification", "distilbert", "pre_classifier", "classifier", "relu"
    ),
    "electra": _NativeClass(
        "ElectraForSequenceClassification", "electra", "classifier.dense", "classifier.out_proj", "gelu"
    ),
}
_TANH = "its class in Transformers has a layer with tanh between the encoder and the output layer"
_DIFFERENCES = {
    "albert": _TANH,
    "bert": _TANH,
    "modernbert": "its class in Transformers has a LayerNorm between the encoder and the output layer",
    "mpnet": _TANH,
    "roberta": _TANH,
    "xlm-roberta": _TANH,
}
"""Why models of other families equal none of Transformers' classes."""
_INSTEAD = "Export without --native, which writes the model's own code."


def write_native_folder(saved: SavedModel, model: EncoderWithHead, folder: Path) -> list[str]:
    """Write a model as one of Transformers' own classes, with its tokenizer.

    Args:
        saved: the trained model.
        model: the model to write: the trained model, possibly with merged adapters.
        folder: an empty folder.
    Returns:
        The distributions that are needed in addition to Transformers and PyTorch: none.
    Raises:
        ValueError: see `native_model`.
    """
    save_weights(native_model(model), folder)
    write_tokenizer(saved, folder)
    return []


def native_model(model: EncoderWithHead) -> PreTrainedModel:
    """Return the same model as one of Transformers' own classes.

    Args:
        model: a trained model without adapters.
    Raises:
        ValueError: if none of these classes can represent the model; the message says what differs.
    """
    family = model.config.encoder.model_type
    if family not in _CLASSES:
        reason = _DIFFERENCES.get(family, "none of Transformers' classes for it is known to equal a model of Midway")
        raise ValueError(f"--native cannot export an encoder of the family '{family}': {reason}. {_INSTEAD}")
    native_class = _CLASSES[family]
    layers = _hidden_and_output(model, native_class)
    config = _native_config(model, native_class, uses_relu=isinstance(model.head, MLPHead))
    native: PreTrainedModel = getattr(transformers, native_class.name)(config)
    native.get_submodule(native_class.encoder).load_state_dict(model.encoder.state_dict())
    for name, (weight, bias) in zip((native_class.hidden, native_class.output), layers, strict=True):
        native.get_submodule(name).load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return native.eval()


def _hidden_and_output(model: EncoderWithHead, native_class: _NativeClass) -> list[tuple[Tensor, Tensor]]:
    """Return weight and bias of the hidden layer and of the output layer, in float64.

    Raises:
        ValueError: if the head does not fit the class.
    """
    head, config = model.head, model.config
    size = config.encoder.hidden_size
    if type(head) is LinearHead:
        weight, bias = _output_layer(model, head)
        if native_class.activation is None:
            return [(torch.eye(size).double(), torch.zeros(size).double()), (weight, bias)]
        num_labels = len(bias)
        if 2 * num_labels > size:
            raise ValueError(
                f"--native cannot export {num_labels} labels: {native_class.name} represents at most {size // 2}. "
                f"{_INSTEAD}"
            )
        hidden = _padded(torch.cat([weight, -weight]), size, size), _padded(torch.cat([bias, -bias]), size)
        difference = torch.cat([torch.eye(num_labels), -torch.eye(num_labels)], dim=1).double()
        return [hidden, (_padded(difference, num_labels, size), torch.zeros(num_labels).double())]
    if type(head) is MLPHead and native_class.activation in (None, "relu") and head.hidden.out_features <= size:
        hidden = _padded(head.hidden.weight, size, size), _padded(head.hidden.bias, size)
        weight, bias = _output_layer(model, head)
        return [hidden, (_padded(weight, len(bias), size), bias)]
    possible = "'linear'" if native_class.activation == "gelu" else f"'linear', or 'mlp' with at most {size} units"
    raise ValueError(
        f"--native cannot export the head '{config.head}': {native_class.name} can only represent the head {possible}. "
        f"{_INSTEAD}"
    )


def _output_layer(model: EncoderWithHead, head: Head) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a head's output layer, with the affine map of the logits, in float64."""
    scale, shift = model.logit_scale.double(), model.logit_shift.double()
    layer: Any = head.out
    return layer.weight.detach().double() * scale.unsqueeze(-1), layer.bias.detach().double() * scale + shift


def _padded(values: Tensor, *shape: int) -> Tensor:
    """Return a tensor with zeros appended in each dimension, in float64."""
    padded = torch.zeros(shape, dtype=torch.float64)
    padded[tuple(slice(length) for length in values.shape)] = values.detach()
    return padded


def _native_config(model: EncoderWithHead, native_class: _NativeClass, *, uses_relu: bool) -> PretrainedConfig:
    config: Any = copy.deepcopy(model.config.encoder)
    config.id2label, config.label2id = model.config.id2label, model.config.label2id
    config.problem_type = model.config.problem_type
    if native_class.activation is None:
        config.pooler_hidden_act = "relu" if uses_relu else "linear"
        config.pooler_hidden_size = config.hidden_size
    if model.config.thresholds is not None:
        config.thresholds = model.config.thresholds
    return config
