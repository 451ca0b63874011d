"""Parts of a model by names that mean the same for every family of encoders.

all                     the whole model
encoder, head           its two parts
encoder.embeddings      what lies between token ids and the first layer
encoder.layer[2:4]      layers by number, from 0; a slice as in Python, or one number
encoder.rest            final norms, relative-position tables, convolutions
adapters                what add_lora put in
name:<glob>             parameters by their raw names (name:*.LayerNorm.*)
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from torch import nn

from research.model.encoder_with_head import EncoderWithHead
from research.model.families import find_family, model_blocks
from research.model.selector_forms import (
    FORMS,
    LAYERS,
    Selector,
    SelectorError,
    as_list,
    check_forms,
    read_layers,
    suggest,
)

ADAPTER = re.compile(r"\.lora_\w+\.")


def select_parameters(model: EncoderWithHead, selector: Selector) -> dict[str, nn.Parameter]:
    """Return the parameters that a selector, or any of a list of them, stands for, by their raw names.

    Raises:
        SelectorError: if one of them cannot be read, matches nothing, or slices layers that are shared.
    """
    chosen: set[str] = set()
    check_forms(selector)
    for each in as_list(selector):
        found = _names(model, each)
        if not found:
            raise SelectorError(f"The selector '{each}' matches no parameter of this model. {_near(model, each)}")
        chosen |= found
    return {name: parameter for name, parameter in model.named_parameters() if name in chosen}


def shortest_selectors(model: EncoderWithHead, names: Sequence[str]) -> list[str]:
    """Return selectors of these parameters and no others that train: of whole blocks where possible."""
    wanted, selectors = set(names), []
    for block, parameters in model_blocks(model.encoder, model.head):
        training = {name for name, parameter in parameters if parameter.requires_grad}
        if training and training <= wanted:
            selectors.append(_selector_of(model, block))
            wanted -= training
    return selectors + [f"name:{name}" for name in names if name in wanted]


def select_blocks(model: EncoderWithHead, selector: Selector) -> list[str]:
    """Return the blocks that a selector stands for: the groups of learning rates.

    Raises:
        SelectorError: as `select_parameters`, or if only a part of a block is meant.
    """
    chosen = select_parameters(model, selector).keys()
    blocks = []
    for block, parameters in model_blocks(model.encoder, model.head):
        names = {name for name, _ in parameters}
        if names <= chosen:
            blocks.append(block)
        elif names & chosen:
            raise SelectorError(
                f"The selector '{describe_selector(selector)}' selects only a part of '{block}', and a block has one "
                f"learning rate and one weight decay. Select whole blocks: {', '.join(FORMS[:-2])}."
            )
    return blocks


def select_layers(model: EncoderWithHead, selector: str) -> list[int]:
    """Return the numbers of the layers that a selector of layers stands for, ascending.

    Raises:
        SelectorError: if it is none, matches nothing, or slices layers that are shared.
    """
    if not selector.startswith(LAYERS):
        raise SelectorError(f"Expected layers, such as 'encoder.layer[-2:]', got '{selector}'.")
    numbers = _layer_numbers(model, selector)
    if not numbers:
        raise SelectorError(f"The selector '{selector}' matches no layer. {_near(model, selector)}")
    return numbers


def select_modules(model: EncoderWithHead, selector: Selector) -> list[str]:
    """Return the raw names of all modules inside of what a selector stands for.

    Raises:
        SelectorError: as `select_parameters`, or for raw parameter names, which are no modules.
    """
    check_forms(selector)
    prefixes: list[str] = []
    everything = {prefix for block in block_modules(model).values() for prefix in block}
    for each in as_list(selector):
        if each.startswith("name:") or each == "adapters":
            raise SelectorError(f"Expected a selector of modules, such as 'encoder.layer[-2:]', got '{each}'.")
        if each in ("all", "encoder", "head"):
            prefixes += ["encoder", "head"] if each == "all" else [each]
        elif each == "encoder.rest":
            select_parameters(model, each)
            inside = tuple(f"{prefix}." for prefix in everything)
            prefixes += [
                name
                for name, module in model.encoder.named_modules(prefix="encoder")
                if not any(True for _ in module.children()) and not f"{name}.".startswith(inside)
            ]
        else:
            blocks = {block for block, names in _blocks(model).items() if names & _names(model, each)}
            select_parameters(model, each)
            prefixes += [prefix for block in blocks for prefix in block_modules(model)[block]]
    return [
        name
        for name, _ in model.named_modules()
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
    ]


def block_modules(model: EncoderWithHead) -> dict[str, list[str]]:
    """Return the raw names of the modules that make up each block; those of `rest` are not listed."""
    family = find_family(model.encoder)
    layers = model.encoder.get_submodule(family.layers)
    assert isinstance(layers, nn.ModuleList)
    embeddings = [f"encoder.{name}" for name in family.embeddings if _has(model.encoder, name)]
    return {
        "embeddings": embeddings,
        **{f"layer.{index}": [f"encoder.{family.layers}.{index}"] for index in range(len(layers))},
        "head": ["head"],
    }


def frozen_modules(model: EncoderWithHead) -> list[nn.Module]:
    """Return the largest modules of which every parameter is frozen: whole encoder or head, embeddings, layers.

    Parts of a layer are not looked at: a layer with adapters in it trains, and its dropout is on.
    """
    if not any(parameter.requires_grad for parameter in model.encoder.parameters()):
        candidates: list[nn.Module] = [model.encoder, model.head]
    else:
        layers = f"encoder.{find_family(model.encoder).layers}"
        parent = layers.rpartition(".")[0]
        beside = [f"{parent}.{name}" for name, _ in model.get_submodule(parent).named_children()]
        names = [name for block in block_modules(model).values() for name in block]
        names += [name for name in beside if name != layers]  # final norms, convolutions
        candidates = [model.get_submodule(name) for name in dict.fromkeys(names)]
    return [module for module in candidates if _is_frozen(module)]


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def describe_selector(selector: Selector) -> str:
    """Return a selector as one text."""
    return ", ".join(as_list(selector))


def _names(model: EncoderWithHead, selector: str) -> set[str]:
    blocks = _blocks(model)
    everything = set().union(*blocks.values())
    if selector in ("all", "encoder"):
        return everything - (blocks["head"] if selector == "encoder" else set())
    if selector in ("head", "encoder.embeddings", "encoder.rest"):
        return blocks.get(selector.removeprefix("encoder."), set())
    if selector == "adapters":
        return {name for name in everything if ADAPTER.search(name)}
    if selector.startswith("name:"):
        return set(fnmatch.filter(everything, selector.removeprefix("name:")))
    assert selector.startswith(LAYERS), f"check_forms lets {selector} pass"
    return set().union(*(blocks.get(f"layer.{index}", set()) for index in _layer_numbers(model, selector)))


def _layer_numbers(model: EncoderWithHead, selector: str) -> list[int]:
    family = find_family(model.encoder)
    layers = model.encoder.get_submodule(family.layers)
    assert isinstance(layers, nn.ModuleList)
    chosen = read_layers(selector)
    if chosen == slice(None):
        return list(range(len(layers)))
    if family.shares_layers:
        raise SelectorError(
            f"The selector '{selector}' slices layers, but {model.config.encoder.model_type} runs one shared layer "
            "several times; use 'encoder.layer' for it."
        )
    if isinstance(chosen, int):
        return [chosen % len(layers)] if -len(layers) <= chosen < len(layers) else []
    return list(range(len(layers)))[chosen]


def _selector_of(model: EncoderWithHead, block: str) -> str:
    """Return the selector that stands for a block."""
    if not block.startswith("layer."):
        return block if block == "head" else f"encoder.{block}"
    shared = find_family(model.encoder).shares_layers
    return "encoder.layer" if shared else f"encoder.layer[{block.removeprefix('layer.')}]"


def _blocks(model: EncoderWithHead) -> dict[str, set[str]]:
    return {block: {name for name, _ in parameters} for block, parameters in model_blocks(model.encoder, model.head)}


def _near(model: EncoderWithHead, selector: str) -> str:
    """Say what a selector may have meant, and what there is."""
    names = sorted(set().union(*_blocks(model).values()))
    known = [f"name:{name}" for name in names] if selector.startswith("name:") else None
    num_layers = sum(name.startswith("layer.") for name in block_modules(model))
    return f"{suggest(selector, known)}There are: {', '.join(FORMS)}; this encoder has {num_layers} layers."


def _has(module: nn.Module, name: str) -> bool:
    return name in dict(module.named_modules())
