"""Initialise layers anew, or take them out."""

from __future__ import annotations

import copy
import re

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig

from research.edits.base import Editable, EditError, register_edit
from research.model.adapters import plain_name
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig, build_head
from research.model.encoders import pooler_arguments
from research.model.families import find_family
from research.model.parameters import saved_buffers
from research.model.selector_forms import Selector
from research.model.selectors import ADAPTER, select_layers, select_parameters


@register_edit("reinitialize")
def reinitialize(run: Editable, modules: Selector) -> None:
    """Initialise parameters as before pretraining (of the head: as it initialises itself).

    If all parameters of a module are chosen, its saved buffers, such as running statistics, are reset too.

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
        initial = dict(saved_buffers(fresh))
        for name, buffer in saved_buffers(model):
            if _owner(model, name) <= set(chosen.values()):
                buffer.copy_(initial[name])
    run.fresh |= set(chosen.values())


def _owner(model: nn.Module, buffer: str) -> set[nn.Parameter]:
    """Return the parameters of the smallest module that a buffer is in and that has any."""
    path = buffer.rpartition(".")[0]
    while path and not any(True for _ in model.get_submodule(path).parameters()):
        path = path.rpartition(".")[0]
    return set(model.get_submodule(path).parameters())


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
    names = _new_names(model.encoder, family.layers, kept)
    shorter = copy.deepcopy(config)
    _set_layers(shorter, kept)
    _check_encoder(model, shorter, names)
    _check_head(model, shorter)
    _set_layers(config, kept)
    parent, _, attribute = family.layers.rpartition(".")
    setattr(model.encoder.get_submodule(parent), attribute, nn.ModuleList(layers[index] for index in kept))
    if model.config.adapters is not None:
        model.config.adapters["targets"] = [
            names[target] for target in model.config.adapters["targets"] if target in names
        ]
    if model.mask_before_adapters is not None:
        model.mask_before_adapters = {
            names[name]: trains for name, trains in model.mask_before_adapters.items() if name in names
        }


def _new_names(encoder: nn.Module, layers: str, kept: list[int]) -> dict[str, str]:
    """Return the new names of the modules and parameters that stay, by their old ones, without a word of adapters."""
    numbers = {old: new for new, old in enumerate(kept)}
    found = {}
    for name in map(plain_name, [*dict(encoder.named_modules()), *dict(encoder.named_parameters())]):
        inside = re.match(rf"{re.escape(layers)}\.(\d+)", name)
        if inside is None:
            found[name] = name
        elif int(inside[1]) in numbers:
            found[name] = f"{layers}.{numbers[int(inside[1])]}{name[inside.end() :]}"
    return found


def _check_encoder(model: EncoderWithHead, shorter: PretrainedConfig, names: dict[str, str]) -> None:
    """Refuse layers whose place makes them what they are: the first one of ModernBERT has no norm."""
    with torch.device("meta"):
        built = AutoModel.from_config(shorter, trust_remote_code=False, **pooler_arguments(shorter))
    expected = {name: parameter.shape for name, parameter in built.named_parameters()}
    left = {
        names[plain]: parameter.shape
        for name, parameter in model.encoder.named_parameters()
        if (plain := plain_name(name)) in names and ADAPTER.search(name) is None
    }
    differing = sorted(name for name in expected.keys() | left.keys() if expected.get(name) != left.get(name))
    if differing:
        raise EditError(
            f"The layers of {shorter.model_type} that are left do not make an encoder of {shorter.num_hidden_layers}: "
            f"{', '.join(differing)} differ. Drop other layers: the first one may be built otherwise than the rest."
        )
    targets = [] if model.config.adapters is None else model.config.adapters["targets"]
    if targets and not any(target in names for target in targets):
        raise EditError("These layers have all of the adapters; merge_lora before they are dropped.")


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
