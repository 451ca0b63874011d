"""Reinitialise or remove layers."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import nn
from transformers import PretrainedConfig

from research.edits.base import Editable, EditError, register_edit
from research.model.adapters import AdapterSettings, name_without_adapters
from research.model.base_dtype import check_trainable
from research.model.encoder_classes import build_encoder
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig, build_head
from research.model.families import count_layers, find_family
from research.model.parameters import saved_buffers
from research.model.selector_forms import Selector
from research.model.selectors import ADAPTER, select_layers, select_parameters


@register_edit("reinitialize", touches="values")
def reinitialize(run: Editable, modules: Selector) -> None:
    """Reinitialise parameters: the encoder's as before pretraining, the head's as in a new head.

    If all parameters of a module are selected, its saved buffers, such as running statistics, are reset too.

    Source: Zhang et al. 2021, Revisiting Few-sample BERT Fine-tuning, section 5.

    Args:
        modules: parameters to reinitialise, as a selector or a list of selectors.
    """
    model = run.encoder_with_head
    config = copy.deepcopy(model.config)
    assert isinstance(config, EncoderWithHeadConfig)
    chosen = select_parameters(model, modules)
    if model.config.adapters is not None and any(name.startswith("encoder.") for name in chosen):
        raise EditError(
            "The encoder has adapters. Merge them with merge_adapters before reinitialising its parameters."
        )
    check_trainable(chosen.values(), model)
    with torch.device(model.device):
        initialised = EncoderWithHead(config)
    values = dict(initialised.named_parameters())
    with torch.no_grad():
        for name, parameter in chosen.items():
            parameter.copy_(values[name])
        initial_buffers = dict(saved_buffers(initialised))
        for name, buffer in saved_buffers(model):
            if _parameters_around(model, name) <= set(chosen.values()):
                buffer.copy_(initial_buffers[name])
    run.new_parameters |= set(chosen.values())


def _parameters_around(model: nn.Module, buffer: str) -> set[nn.Parameter]:
    """Return the parameters of the smallest module that contains a buffer and has parameters."""
    path = buffer.rpartition(".")[0]
    while path and not any(True for _ in model.get_submodule(path).parameters()):
        path = path.rpartition(".")[0]
    return set(model.get_submodule(path).parameters())


@register_edit("drop_layers", touches="modules")
def drop_layers(run: Editable, modules: str) -> None:
    """Remove layers from the encoder. The remaining layers are renumbered, and keep their learning rates.

    Source: Sajjad et al. 2023, On the Effect of Dropping Layers of Pre-trained Transformer Models.

    Args:
        modules: selector of the layers to remove, such as `encoder.layer[-2:]`.
    """
    model = run.encoder_with_head
    dropped = select_layers(model, modules)
    family = find_family(model.encoder)
    num_layers = count_layers(model.encoder, family)
    config = model.config.encoder
    if family.shares_layers:
        raise EditError(f"{config.model_type} runs one shared layer several times, which cannot be dropped.")
    if len(dropped) == num_layers:
        raise EditError(f"'{modules}' selects all layers of the encoder; at least one must remain.")
    kept_layers = [index for index in range(num_layers) if index not in dropped]
    new_names = _new_names(model.encoder, family.layers, kept_layers)
    shorter_config = copy.deepcopy(config)
    _keep_layers_in_config(shorter_config, kept_layers)
    _check_encoder(model, shorter_config, new_names)
    _check_head(model, shorter_config)
    _keep_layers_in_config(config, kept_layers)
    for name in family.layers:
        layers = model.encoder.get_submodule(name)
        assert isinstance(layers, nn.ModuleList)
        parent, _, attribute = name.rpartition(".")
        remaining = nn.ModuleList(layers[index] for index in kept_layers)
        _renumber(remaining)
        stack = model.encoder.get_submodule(parent)
        setattr(stack, attribute, remaining)
        if isinstance(getattr(stack, "n_layers", None), int):  # XLM's forward counts to it
            stack.n_layers = len(remaining)  # type: ignore[assignment]
    if model.config.adapters is not None:
        model.config.adapters = asdict(AdapterSettings.from_config(model.config.adapters).renamed(new_names))
    if model.trainable_before_adapters is not None:
        model.trainable_before_adapters = {
            new_names[name]: was_trainable
            for name, was_trainable in model.trainable_before_adapters.items()
            if name in new_names
        }


def _renumber(layers: nn.ModuleList) -> None:
    """Set the numbers that modules of the layers store, as in an encoder that is built with these layers."""
    for number, layer in enumerate(layers):
        for module in layer.modules():
            for attribute in ("layer_idx", "layer_id"):
                if isinstance(getattr(module, attribute, None), int):
                    setattr(module, attribute, number)


def _new_names(encoder: nn.Module, layers: Sequence[str], kept_layers: list[int]) -> dict[str, str]:
    """Return the new name of each remaining module and parameter by its old name, as in an encoder without adapters."""
    numbers = {old: new for new, old in enumerate(kept_layers)}
    new_names = {}
    for name in map(name_without_adapters, [*dict(encoder.named_modules()), *dict(encoder.named_parameters())]):
        match = re.match(rf"({'|'.join(map(re.escape, layers))})\.(\d+)", name)
        if match is None:
            new_names[name] = name
        elif int(match[2]) in numbers:
            new_names[name] = f"{match[1]}.{numbers[int(match[2])]}{name[match.end() :]}"
    return new_names


def _check_encoder(model: EncoderWithHead, shorter_config: PretrainedConfig, new_names: dict[str, str]) -> None:
    """Check that the remaining layers make a valid encoder.

    They may not if a layer's structure depends on its position. For example, ModernBERT's first layer has no norm.

    Raises:
        EditError: if the remaining layers do not make a valid encoder, or if no layer with adapters remains.
    """
    with torch.device("meta"):
        built = build_encoder(shorter_config)
    expected = {name: parameter.shape for name, parameter in built.named_parameters()}
    remaining = {
        new_names[plain]: parameter.shape
        for name, parameter in model.encoder.named_parameters()
        if (plain := name_without_adapters(name)) in new_names and ADAPTER.search(name) is None
    }
    mismatched = sorted(
        name for name in expected.keys() | remaining.keys() if expected.get(name) != remaining.get(name)
    )
    if mismatched:
        raise EditError(
            f"The remaining layers of {shorter_config.model_type} do not make an encoder with "
            f"{shorter_config.num_hidden_layers} layers. These parameters are missing, left over, or have a "
            f"different shape: {', '.join(mismatched)}. Drop different layers: the first layer may have a different "
            "structure."
        )
    targets = [] if model.config.adapters is None else model.config.adapters["targets"]
    if targets and not any(target in new_names for target in targets):
        raise EditError(
            "All adapters are in the layers to drop. Merge them with merge_adapters before dropping the layers."
        )


def _keep_layers_in_config(config: object, kept_layers: list[int]) -> None:
    """Change an encoder's config so that it describes the encoder with only some of its layers."""
    config.num_hidden_layers = len(kept_layers)  # type: ignore[attr-defined]
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        config.layer_types = [layer_types[index] for index in kept_layers]  # type: ignore[attr-defined]


def _check_head(model: EncoderWithHead, shorter_config: object) -> None:
    """Check that the head does not depend on the number of layers.

    Raises:
        EditError: if the head depends on the number of layers.
    """
    config = model.config
    with torch.device("meta"):
        try:
            head = build_head(config.head, config.head_options, shorter_config, config.num_labels)  # type: ignore[arg-type]
            shapes = {name: tensor.shape for name, tensor in head.state_dict().items()}
        except ValueError:  # the head cannot be built for so few layers
            shapes = {}
    if shapes != {name: tensor.shape for name, tensor in model.head.state_dict().items()}:
        raise EditError(
            f"The head '{config.head}' is built for the hidden states of {config.encoder.num_hidden_layers} layers. "
            "Replace it with replace_head before dropping layers."
        )
