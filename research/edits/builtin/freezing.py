"""Freeze and unfreeze parameters."""

from __future__ import annotations

from research.edits.base import Editable, register_edit
from research.model.base_dtype import check_trainable
from research.model.selector_forms import Selector
from research.model.selectors import select_parameters


@register_edit("freeze", touches="mask")
def freeze(run: Editable, modules: Selector) -> None:
    """Freeze parameters. Their optimizer state is kept and used again when they are unfrozen.

    Source: Howard & Ruder 2018, ULMFiT, section 3.3.

    Args:
        modules: parameters to freeze, as a selector or a list of selectors.
    """
    for parameter in select_parameters(run.encoder_with_head, modules).values():
        parameter.requires_grad_(False)
        # Optimizers skip parameters without a gradient. A gradient of 0 would still decay weights and change moments.
        parameter.grad = None


@register_edit("unfreeze", touches="mask")
def unfreeze(run: Editable, modules: Selector) -> None:
    """Unfreeze parameters, so that they train. Parameters that no output depends on, such as a pooler's, stay frozen.

    Source: Howard & Ruder 2018, ULMFiT, section 3.3.

    Args:
        modules: parameters to unfreeze, as a selector or a list of selectors.
    """
    model = run.encoder_with_head
    selected = select_parameters(model, modules)
    check_trainable(selected.values(), model)
    for parameter in selected.values():
        parameter.requires_grad_(parameter not in model.unused_parameters)
