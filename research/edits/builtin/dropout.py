"""Change dropout outside of attention weights."""

from __future__ import annotations

import copy

import torch
from torch import nn
from transformers import AutoModel

from research.edits.base import Editable, EditError, register_edit
from research.model import families
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import pooler_arguments
from research.model.selector_forms import Selector, as_list
from research.model.selectors import select_modules

_MARK = 0.123456789
"""A dropout probability that nobody sets."""


@register_edit("set_dropout", changes_parameters=False)
def set_dropout(run: Editable, p: float, modules: Selector = "all") -> None:
    """Set the dropout probability of modules; dropout of attention weights stays as it is.

    Args:
        p: probability of dropping a unit.
        modules: where, as a selector or a list of them.
    """
    if not 0 <= p < 1:
        raise EditError(f"Expected p from 0 to below 1, got {p}.")
    model = run.encoder_with_head
    inside = set(select_modules(model, modules))
    everywhere = _head_places(model)
    if any(name.startswith("encoder") for name in inside):
        everywhere += _encoder_places(model)
    places = [place for place in everywhere if place[0] in inside]
    if not places:
        raise EditError(f"There is no dropout in '{modules}'.")
    for name, attribute in places:
        setattr(model.get_submodule(name), attribute, p)
    whole = as_list(modules)
    if {"all", "encoder"} & set(whole):
        families.set_dropout(model.config.encoder, dropout=p, attention_dropout=None)
    if {"all", "head"} & set(whole) and "dropout" in model.config.head_options:
        model.config.head_options["dropout"] = p


def _head_places(model: EncoderWithHead) -> list[tuple[str, str]]:
    """Return module and attribute of each dropout probability in the head."""
    places = []
    for name, module in model.head.named_modules(prefix="head"):
        if isinstance(module, nn.modules.dropout._DropoutNd):
            places.append((name, "p"))
        elif isinstance(module, nn.RNNBase) and module.num_layers > 1:
            places.append((name, "dropout"))
    return places


def _encoder_places(model: EncoderWithHead) -> list[tuple[str, str]]:
    """Return module and attribute of each dropout probability in the encoder, attention weights excepted.

    Families keep it in places of their own: a copy without weights, built with a probability that nobody sets, shows
    where it goes.
    """
    config = copy.deepcopy(model.config.encoder)
    families.set_dropout(config, dropout=_MARK, attention_dropout=None)
    with torch.device("meta"):
        marked = AutoModel.from_config(config, trust_remote_code=False, **pooler_arguments(config))
    return [
        (name, attribute)
        for name, module in marked.named_modules(prefix="encoder")
        for attribute, value in vars(module).items()
        if isinstance(value, float) and value == _MARK
    ]
