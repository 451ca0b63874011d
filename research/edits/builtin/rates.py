"""Change base learning rates and weight decay of whole blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from research.edits.base import Editable, EditError, register_edit
from research.learning.optimizer import apply_schedule
from research.model.selector_forms import Selector
from research.model.selectors import select_blocks


@register_edit("set_lr", touches="nothing")
def set_lr(run: Editable, lr: float, modules: Selector = "all") -> None:
    """Set the base learning rate of blocks. The schedule multiplies it by its current factor.

    Args:
        lr: base learning rate, above 0.
        modules: whole blocks, as a selector or a list of selectors.
    """
    if not 0 < lr < float("inf"):
        raise EditError(f"Expected an lr above 0, got {lr}; to stop training a block, freeze it.")
    for group in _groups_of_blocks(run, modules):
        group["base_lr"] = lr
    apply_schedule(run.optimizer, run.schedule)


@register_edit("scale_lr", touches="nothing")
def scale_lr(run: Editable, factor: float, modules: Selector = "all") -> None:
    """Multiply the base learning rate of blocks by a factor.

    Args:
        factor: the factor, above 0.
        modules: whole blocks, as a selector or a list of selectors.
    """
    if not 0 < factor < float("inf"):
        raise EditError(f"Expected a factor above 0, got {factor}; to stop training a block, freeze it.")
    for group in _groups_of_blocks(run, modules):
        group["base_lr"] *= factor
    apply_schedule(run.optimizer, run.schedule)


@register_edit("set_weight_decay", touches="nothing")
def set_weight_decay(run: Editable, weight_decay: float, modules: Selector = "all") -> None:
    """Set the weight decay of blocks. Norms and biases still have no weight decay.

    Args:
        weight_decay: decoupled weight decay (for sgd: L2 penalty), 0 or more.
        modules: whole blocks, as a selector or a list of selectors.
    """
    if not 0 <= weight_decay < float("inf"):
        raise EditError(f"Expected a weight_decay of 0 or more, got {weight_decay}.")
    for group in _groups_of_blocks(run, modules):
        if group["decays"]:
            group["weight_decay"] = weight_decay


def _groups_of_blocks(run: Editable, modules: Selector) -> Iterator[dict[str, Any]]:
    blocks = select_blocks(run.encoder_with_head, modules)
    for group in run.optimizer.param_groups:
        if group["block"] in blocks:
            yield group
