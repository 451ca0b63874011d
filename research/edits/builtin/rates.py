"""Change learning rates and weight decay of whole blocks; the schedule goes on multiplying them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from research.edits.base import Editable, EditError, register_edit
from research.learning.optimizer import apply_schedule
from research.model.selector_forms import Selector
from research.model.selectors import select_blocks


@register_edit("set_lr", changes_parameters=False)
def set_lr(run: Editable, lr: float, modules: Selector = "all") -> None:
    """Set the peak learning rate of blocks; the schedule multiplies it from now on.

    Args:
        lr: peak rate per step.
        modules: whole blocks, as a selector or a list of them.
    """
    if not 0 < lr < float("inf"):
        raise EditError(f"Expected an lr above 0, got {lr}; to train something no longer, freeze it.")
    for group in _groups(run, modules):
        group["base_lr"] = lr
    apply_schedule(run.optimizer, run.schedule)


@register_edit("scale_lr", changes_parameters=False)
def scale_lr(run: Editable, factor: float, modules: Selector = "all") -> None:
    """Multiply the peak learning rate of blocks.

    Args:
        factor: what to multiply it with.
        modules: whole blocks, as a selector or a list of them.
    """
    if not 0 < factor < float("inf"):
        raise EditError(f"Expected a factor above 0, got {factor}; to train something no longer, freeze it.")
    for group in _groups(run, modules):
        group["base_lr"] *= factor
    apply_schedule(run.optimizer, run.schedule)


@register_edit("set_weight_decay", changes_parameters=False)
def set_weight_decay(run: Editable, weight_decay: float, modules: Selector = "all") -> None:
    """Set the weight decay of blocks; norms and biases stay spared.

    Args:
        weight_decay: decoupled weight decay (for sgd: L2).
        modules: whole blocks, as a selector or a list of them.
    """
    if not 0 <= weight_decay < float("inf"):
        raise EditError(f"Expected a weight_decay of 0 or more, got {weight_decay}.")
    for group in _groups(run, modules):
        if group["decays"]:
            group["weight_decay"] = weight_decay


def _groups(run: Editable, modules: Selector) -> Iterator[dict[str, Any]]:
    blocks = select_blocks(run.encoder_with_head, modules)
    for group in run.optimizer.param_groups:
        if group["block"] in blocks:
            yield group
