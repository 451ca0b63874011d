"""Find the layers of an encoder that get adapters."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterator

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from heads.registry import UnknownNameError
from research.model.selector_forms import Targets

LINEAR, ATTENTION = "linear", "attention"


class TargetError(UnknownNameError):
    """No layer of an encoder fits the requested targets."""


def find_targets(encoder: PreTrainedModel, selected: Collection[str], targets: Targets) -> list[str]:
    """Return the names of the linear layers that get adapters, in the encoder's order.

    Args:
        encoder: the encoder.
        selected: names of the encoder's modules among which targets are searched.
        targets: `linear` for all linear layers, `attention` for those inside of attention modules, or names of linear
            layers within the encoder. A name may be a glob, and its beginning may be left out, as in PEFT: `q_proj`
            matches `layers.0.self_attn.q_proj`.
    Raises:
        TargetError: if there are none, or one of the names matches none.
    """
    linear = [name for name in linear_layers(encoder) if name in selected]
    if not linear:
        raise TargetError(
            f"Expected linear layers for adapters, found none{_describe_other_layers(encoder, selected)}. Select other "
            "modules, or train the encoder without adapters."
        )
    patterns = _as_list(targets)
    if patterns == [LINEAR]:
        return linear
    if patterns == [ATTENTION]:
        in_attention = [name for name in linear if is_in_attention(encoder, name)]
        if not in_attention:
            raise TargetError(
                f"Expected linear layers in attention modules for adapters, found none. {_list_names(linear)}"
            )
        return in_attention
    matched_by_pattern = {pattern: [name for name in linear if _matches(name, pattern)] for pattern in patterns}
    for pattern, matched in matched_by_pattern.items():
        if not matched:
            raise TargetError(
                f"The target '{pattern}' matches no linear layer in the selected modules that adapters can change. "
                f"{_suggest(pattern, linear)}{_list_names(linear)}"
            )
    wanted = {name for matched in matched_by_pattern.values() for name in matched}
    return [name for name in linear if name in wanted]


def linear_layers(encoder: nn.Module) -> Iterator[str]:
    """Yield the names of the linear layers that adapters can change: `nn.Linear`, and `Conv1D` of GPT-2."""
    for name, module in encoder.named_modules():
        # nn.MultiheadAttention reads the weight of its output layer without calling the layer.
        if isinstance(module, nn.Linear | Conv1D) and not isinstance(module, NonDynamicallyQuantizableLinear):
            yield name


def is_in_attention(encoder: nn.Module, name: str) -> bool:
    """Return whether a layer is inside of an attention module, which the names of the classes around it tell.

    The names of modules do not tell it: attention is `attn` in GPT-2, `self_attn` in Llama, and an item of a list in
    XLM.
    """
    parents = name.split(".")[:-1]
    classes = [
        type(encoder.get_submodule(".".join(parents[:depth]))).__name__.lower() for depth in range(1, len(parents) + 1)
    ]
    return any("attention" in class_name or "attn" in class_name for class_name in classes)


def _as_list(targets: Targets) -> list[str]:
    names = targets.split(",") if isinstance(targets, str) else targets
    stripped = [name.strip() for name in names if name.strip()]
    if not stripped:
        raise TargetError(f"Expected targets of adapters: '{LINEAR}', '{ATTENTION}' or names of layers; got none.")
    return stripped


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"*.{pattern}")


def _suggest(pattern: str, linear: Collection[str]) -> str:
    """Return a suggestion for a pattern that matches nothing, followed by a space; empty if no name is similar."""
    beginning, dot, last = pattern.rpartition(".")
    near_ends = difflib.get_close_matches(last, sorted({*_last_parts(linear), LINEAR, ATTENTION}), n=1, cutoff=0.5)
    for candidate in [f"{beginning}{dot}{end}" for end in near_ends]:
        if candidate in (LINEAR, ATTENTION) or any(_matches(name, candidate) for name in linear):
            return f"Did you mean '{candidate}'? "
    near_names = difflib.get_close_matches(pattern, linear, n=1, cutoff=0.5)
    return f"Did you mean '{near_names[0]}'? " if near_names else ""


def _list_names(linear: Collection[str]) -> str:
    return (
        f"Targets: {LINEAR}, {ATTENTION}, or names of linear layers, which end with {', '.join(_last_parts(linear))}."
    )


def _last_parts(names: Collection[str]) -> list[str]:
    """Return the last parts of names, without repetitions."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))


def _describe_other_layers(encoder: nn.Module, selected: Collection[str]) -> str:
    """Return the classes of layers with matrices that PEFT's adapters do not support, in parentheses."""
    classes = sorted(
        {
            type(module).__name__
            for name, module in encoder.named_modules()
            if name in selected and any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False))
        }
    )
    return f" (layers with weights: {', '.join(classes)})" if classes else ""
