"""Freeze and unfreeze parameters."""

from __future__ import annotations

from research.edits.base import Editable, register_edit
from research.model.selector_forms import Selector
from research.model.selectors import select_parameters


@register_edit("freeze")
def freeze(run: Editable, modules: Selector) -> None:
    """Stop training parameters; their moments in the optimizer stay for when they are unfrozen.

    Source: Howard & Ruder 2018, ULMFiT, section 3.3.

    Args:
        modules: what to freeze, as a selector or a list of them.
    """
    for parameter in select_parameters(run.encoder_with_head, modules).values():
        parameter.requires_grad_(False)
        # Optimizers skip what has no gradient; a gradient of 0 would still decay weights and move moments.
        parameter.grad = None


@register_edit("unfreeze")
def unfreeze(run: Editable, modules: Selector) -> None:
    """Train parameters again, or for the first time.

    Source: Howard & Ruder 2018, ULMFiT, section 3.3.

    Args:
        modules: what to unfreeze, as a selector or a list of them.
    """
    for parameter in select_parameters(run.encoder_with_head, modules).values():
        parameter.requires_grad_(True)
