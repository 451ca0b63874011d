"""Find the parts of a model that a selector matches. Selectors are the same for every family of encoders.

all                     the whole model
encoder, head           its two parts
encoder.embeddings      the modules between the token ids and the first layer
encoder.layer[2:4]      layers by number, from 0; a slice as in Python, or one number
encoder.rest            final norms, relative-position tables, convolutions
adapters                adapters, such as those added by add_lora
name:<glob>             parameters by their names in the model (name:*.LayerNorm.*)
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from torch import nn

from research.model.encoder_with_head import EncoderWithHead
from research.model.families import count_layers, find_family, model_blocks
from research.model.selector_forms import (
    FORMS,
    LAYERS,
    Selector,
    SelectorError,
    as_list,
    check_syntax,
    read_layers,
    suggest,
)

ADAPTER = re.compile(r"\.(lora_\w+|ia3_l|oft_R|vera_lambda_[bd])\.|(^|\.)prompt_tuning\.")
"""Part of the name of every parameter of adapters."""


def select_parameters(model: EncoderWithHead, selector: Selector) -> dict[str, nn.Parameter]:
    """Return the parameters that a selector or any selector of a list matches, by their names in the model.

    Raises:
        SelectorError: if a selector is invalid, matches nothing, or selects layers by number in an encoder that runs
            one layer several times.
    """
    selected: set[str] = set()
    check_syntax(selector)
    for each in as_list(selector):
        names = _matching_names(model, each)
        if not names:
            raise SelectorError(
                f"The selector '{each}' matches no parameter of this model. {_suggest_selectors(model, each)}"
            )
        selected |= names
    return {name: parameter for name, parameter in model.named_parameters() if name in selected}


def shortest_selectors(model: EncoderWithHead, names: Sequence[str]) -> list[str]:
    """Return selectors that match these parameters and no other trainable ones; selectors of blocks where possible."""
    wanted, selectors = set(names), []
    for block, parameters in model_blocks(model.encoder, model.head):
        trainable = {name for name, parameter in parameters if parameter.requires_grad}
        if trainable and trainable <= wanted:
            selectors.append(_selector_of(model, block))
            wanted -= trainable
    return selectors + [f"name:{name}" for name in names if name in wanted]


def select_blocks(model: EncoderWithHead, selector: Selector) -> list[str]:
    """Return the names of the blocks that a selector matches.

    Raises:
        SelectorError: see `select_parameters`; also if the selector matches only a part of a block.
    """
    selected = select_parameters(model, selector).keys()
    blocks = []
    for block, parameters in model_blocks(model.encoder, model.head):
        names = {name for name, _ in parameters}
        if names <= selected:
            blocks.append(block)
        elif names & selected:
            forms_of_blocks = FORMS[:-2]  # without adapters and name:<glob>, which can match parts of blocks
            raise SelectorError(
                f"The selector '{describe_selector(selector)}' matches only a part of '{block}', but a block has one "
                f"learning rate and one weight decay. Select whole blocks: {', '.join(forms_of_blocks)}."
            )
    return blocks


def select_layers(model: EncoderWithHead, selector: str) -> list[int]:
    """Return the numbers of the layers that a selector of layers matches, in ascending order.

    Raises:
        SelectorError: if it is not a selector of layers, matches nothing, or selects layers by number in an encoder
            that runs one layer several times.
    """
    if not selector.startswith(LAYERS):
        raise SelectorError(f"Expected a selector of layers, such as 'encoder.layer[-2:]', got '{selector}'.")
    numbers = _layer_numbers(model, selector)
    if not numbers:
        raise SelectorError(f"The selector '{selector}' matches no layer. {_suggest_selectors(model, selector)}")
    return numbers


def select_modules(model: EncoderWithHead, selector: Selector) -> list[str]:
    """Return the names of all modules in the parts of the model that a selector matches.

    Raises:
        SelectorError: see `select_parameters`; also for `name:...` and `adapters`, which select parameters.
    """
    check_syntax(selector)
    prefixes: list[str] = []
    modules_of_blocks = {name for block in module_names_by_block(model).values() for name in block}
    for each in as_list(selector):
        if each.startswith("name:") or each == "adapters":
            raise SelectorError(f"Expected a selector of modules, such as 'encoder.layer[-2:]', got '{each}'.")
        if each in ("all", "encoder", "head"):
            prefixes += ["encoder", "head"] if each == "all" else [each]
        elif each == "encoder.rest":
            select_parameters(model, each)  # raises an error if the selector matches nothing
            prefixes_of_blocks = tuple(f"{name}." for name in modules_of_blocks)
            prefixes += [  # modules without submodules, outside all blocks
                name
                for name, module in model.encoder.named_modules(prefix="encoder")
                if not any(True for _ in module.children()) and not f"{name}.".startswith(prefixes_of_blocks)
            ]
        else:
            blocks = {
                block
                for block, names in _parameter_names_by_block(model).items()
                if names & _matching_names(model, each)
            }
            select_parameters(model, each)  # raises an error if the selector matches nothing
            prefixes += [prefix for block in blocks for prefix in module_names_by_block(model)[block]]
    return [
        name
        for name, _ in model.named_modules()
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
    ]


def module_names_by_block(model: EncoderWithHead) -> dict[str, list[str]]:
    """Return the names of the modules of each block, except for `rest`."""
    family = find_family(model.encoder)
    embeddings = [f"encoder.{name}" for name in family.embeddings if _has_module(model.encoder, name)]
    return {
        "embeddings": embeddings,
        **{
            f"layer.{index}": [f"encoder.{name}.{index}" for name in family.layers]
            for index in range(count_layers(model.encoder, family))
        },
        "head": ["head"],
    }


def frozen_modules(model: EncoderWithHead) -> list[nn.Module]:
    """Return the largest modules whose parameters are all frozen: the encoder or its parts, and the head.

    Parts of the encoder are the embeddings, each layer, and modules next to the layers, such as a final norm. Parts of
    a layer are not considered, so a layer with frozen weights and trainable adapters is not frozen. Its dropout stays
    enabled.
    """
    if not any(parameter.requires_grad for parameter in model.encoder.parameters()):
        candidates: list[nn.Module] = [model.encoder, model.head]
    else:
        lists = [f"encoder.{name}" for name in find_family(model.encoder).layers]
        parents = dict.fromkeys(name.rpartition(".")[0] for name in lists)
        siblings = [
            f"{parent}.{name}" for parent in parents for name, _ in model.get_submodule(parent).named_children()
        ]
        names = [name for block in module_names_by_block(model).values() for name in block]
        names += [name for name in siblings if name not in lists]  # final norms, convolutions
        candidates = [model.get_submodule(name) for name in dict.fromkeys(names)]
    return [module for module in candidates if _is_frozen(module)]


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


def describe_selector(selector: Selector) -> str:
    """Return one or several selectors as text."""
    return ", ".join(as_list(selector))


def _matching_names(model: EncoderWithHead, selector: str) -> set[str]:
    blocks = _parameter_names_by_block(model)
    all_names = set().union(*blocks.values())
    if selector in ("all", "encoder"):
        return all_names - (blocks["head"] if selector == "encoder" else set())
    if selector in ("head", "encoder.embeddings", "encoder.rest"):
        return blocks.get(selector.removeprefix("encoder."), set())
    if selector == "adapters":
        return {name for name in all_names if ADAPTER.search(name)}
    if selector.startswith("name:"):
        return set(fnmatch.filter(all_names, selector.removeprefix("name:")))
    assert selector.startswith(LAYERS), f"check_syntax accepted {selector}"
    return set().union(*(blocks.get(f"layer.{index}", set()) for index in _layer_numbers(model, selector)))


def _layer_numbers(model: EncoderWithHead, selector: str) -> list[int]:
    family = find_family(model.encoder)
    num_layers = count_layers(model.encoder, family)
    if num_layers == 0:
        raise SelectorError(
            f"The selector '{selector}' selects layers, but the layers of {model.config.encoder.model_type} are not "
            "known. Use 'encoder', or add the family to research.model.family_table.FAMILIES in a plugin."
        )
    wanted = read_layers(selector)
    if wanted == slice(None):
        return list(range(num_layers))
    if family.shares_layers:
        raise SelectorError(
            f"The selector '{selector}' selects layers by number, but {model.config.encoder.model_type} runs one "
            "shared layer several times. Use 'encoder.layer' instead."
        )
    if isinstance(wanted, int):
        return [wanted % num_layers] if -num_layers <= wanted < num_layers else []
    return list(range(num_layers))[wanted]


def _selector_of(model: EncoderWithHead, block: str) -> str:
    """Return the selector that matches a block."""
    if not block.startswith("layer."):
        return block if block == "head" else f"encoder.{block}"
    shared = find_family(model.encoder).shares_layers
    return "encoder.layer" if shared else f"encoder.layer[{block.removeprefix('layer.')}]"


def _parameter_names_by_block(model: EncoderWithHead) -> dict[str, set[str]]:
    return {block: {name for name, _ in parameters} for block, parameters in model_blocks(model.encoder, model.head)}


def _suggest_selectors(model: EncoderWithHead, selector: str) -> str:
    """Return a suggestion for a selector that matches nothing, and the available selectors."""
    names = sorted(set().union(*_parameter_names_by_block(model).values()))
    known = [f"name:{name}" for name in names] if selector.startswith("name:") else None
    num_layers = sum(name.startswith("layer.") for name in module_names_by_block(model))
    return f"{suggest(selector, known)}Selectors: {', '.join(FORMS)}; this encoder has {num_layers} layers."


def _has_module(module: nn.Module, name: str) -> bool:
    return name in dict(module.named_modules())
