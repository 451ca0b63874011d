"""Change dropout, except for the dropout of attention weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from research.edits.base import Editable, EditError, register_edit
from research.model import families
from research.model.encoder_classes import build_encoder
from research.model.encoder_with_head import EncoderWithHead
from research.model.selector_forms import Selector, as_list
from research.model.selectors import select_modules

_MARKER = 0.123456789
"""A dropout probability that occurs nowhere else."""


@register_edit("set_dropout", touches="nothing")
def set_dropout(run: Editable, p: float, modules: Selector = "all") -> None:
    """Set the dropout probability of modules. The dropout of attention weights does not change.

    Args:
        p: probability of dropping a unit, at least 0 and less than 1.
        modules: modules to change, as a selector or a list of selectors.
    """
    if not 0 <= p < 1:
        raise EditError(f"Expected p to be at least 0 and less than 1; got {p}.")
    model = run.encoder_with_head
    chosen_modules = set(select_modules(model, modules))
    attributes = _find_dropout_in_head(model)
    if any(name.startswith("encoder") for name in chosen_modules):
        attributes += _find_dropout_in_encoder(model)
    selected = [(name, attribute) for name, attribute in attributes if name in chosen_modules]
    if not selected:
        raise EditError(f"Expected modules with dropout in '{modules}', found none.")
    for name, attribute in selected:
        setattr(model.get_submodule(name), attribute, p)
    # The encoder's config and the head's options each store a single probability, so they change only if `modules`
    # selects the whole encoder or head.
    selectors = set(as_list(modules))
    if {"all", "encoder"} & selectors and families.has_dropout(model.config.encoder):
        families.set_dropout(model.config.encoder, dropout=p, attention_dropout=None)
    if {"all", "head"} & selectors and "dropout" in model.config.head_options:
        model.config.head_options["dropout"] = p


def _find_dropout_in_head(model: EncoderWithHead) -> list[tuple[str, str]]:
    """Return (module name, attribute name) for each dropout probability in the head."""
    attributes = []
    for name, module in model.head.named_modules(prefix="head"):
        if isinstance(module, nn.modules.dropout._DropoutNd):
            attributes.append((name, "p"))
        elif isinstance(module, nn.RNNBase) and module.num_layers > 1:  # dropout between its layers
            attributes.append((name, "dropout"))
    return attributes


def _find_dropout_in_encoder(model: EncoderWithHead) -> list[tuple[str, str]]:
    """Return (module name, attribute name) for each dropout probability in the encoder, except in attention weights.

    Model families store the probability in different attributes. To find these attributes, the function builds the
    encoder once more, without weights and with a probability that occurs nowhere else.
    """
    config = copy.deepcopy(model.config.encoder)
    if not families.has_dropout(config):
        return []
    families.set_dropout(config, dropout=_MARKER, attention_dropout=None)
    with torch.device("meta"):
        marked = build_encoder(config)
    return [
        (name, attribute)
        for name, module in marked.named_modules(prefix="encoder")
        for attribute, value in vars(module).items()
        if isinstance(value, float) and value == _MARKER
    ]
