"""Initialise layers anew, or take them out."""

from __future__ import annotations

import copy

import torch
from torch import nn

from research.edits.base import Editable, EditError, register_edit
from research.families import find_family
from research.model import EncoderWithHead, EncoderWithHeadConfig, build_head
from research.selectors import Selector, select_layers, select_parameters


@register_edit("reinitialize")
def reinitialize(run: Editable, modules: Selector) -> None:
    """Initialise parameters as before pretraining (of the head: as it initialises itself).

    Source: Zhang et al. 2021, Revisiting Few-sample BERT Fine-tuning, section 5.

    Args:
        modules: what to initialise, as a selector or a list of them.
    """
    model = run.encoder_with_head
    config = copy.deepcopy(model.config)
    assert isinstance(config, EncoderWithHeadConfig)
    chosen = select_parameters(model, modules)
    if model.config.adapters is not None and any(name.startswith("encoder.") for name in chosen):
        raise EditError("Adapters lie over the encoder's parameters; merge_lora before reinitialize.")
    with torch.device(model.device):
        fresh = EncoderWithHead(config)
    values = dict(fresh.named_parameters())
    with torch.no_grad():
        for name, parameter in chosen.items():
            parameter.copy_(values[name])
    run.fresh |= chosen.keys()


@register_edit("drop_layers")
def drop_layers(run: Editable, modules: str) -> None:
    """Take layers out of the encoder.

    Source: Sajjad et al. 2023, On the Effect of Dropping Layers of Pre-trained Transformer Models.

    Args:
        modules: layers, such as `encoder.layer[-2:]`.
    """
    model = run.encoder_with_head
    dropped = select_layers(model, modules)
    family = find_family(model.encoder)
    layers = model.encoder.get_submodule(family.layers)
    assert isinstance(layers, nn.ModuleList)
    config = model.config.encoder
    if family.shares_layers:
        raise EditError(f"{config.model_type} runs one shared layer several times; there is none to drop.")
    if len(dropped) == len(layers):
        raise EditError(f"'{modules}' are all layers of the encoder; at least one must stay.")
    kept = [index for index in range(len(layers)) if index not in dropped]
    shorter = copy.deepcopy(config)
    _set_layers(shorter, kept)
    _check_head(model, shorter)
    _set_layers(config, kept)
    parent, _, attribute = family.layers.rpartition(".")
    setattr(model.encoder.get_submodule(parent), attribute, nn.ModuleList(layers[index] for index in kept))


def _set_layers(config: object, kept: list[int]) -> None:
    """Let a config describe an encoder of some of its layers."""
    config.num_hidden_layers = len(kept)  # type: ignore[attr-defined]
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        config.layer_types = [kinds[index] for index in kept]  # type: ignore[attr-defined]


def _check_head(model: EncoderWithHead, shorter: object) -> None:
    """Refuse to take layers away from a head that is built for their number."""
    config = model.config
    with torch.device("meta"):
        try:
            head = build_head(config.head, config.head_options, shorter, config.num_labels)  # type: ignore[arg-type]
            shapes = {name: tensor.shape for name, tensor in head.state_dict().items()}
        except ValueError:
            shapes = {}
    if shapes != {name: tensor.shape for name, tensor in model.head.state_dict().items()}:
        raise EditError(
            f"The head '{config.head}' is built for the hidden states of {config.encoder.num_hidden_layers} layers; "
            "replace it before layers are dropped."
        )
