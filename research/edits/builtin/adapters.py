"""Train low-rank adapters beside frozen weights, and merge them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from torch import nn

from heads.registry import Registry
from research.edits.base import Editable, EditError, EditFunction, register_edit
from research.model.adapters import AdapterSettings, inject_adapters, merge_adapters, plain_name
from research.model.encoder_with_head import EncoderWithHead
from research.model.selectors import ADAPTER, select_modules

PEFT: Registry[EditFunction] = Registry("peft")
"""What --peft can begin a run with: edits that add adapters."""


@PEFT.register("lora")
@register_edit("add_lora")
def add_lora(
    run: Editable,
    *,
    modules: str = "encoder.layer",
    r: int = 8,
    alpha: int = 16,
    dropout: float = 0.0,
    targets: Literal["linear", "attention"] = "linear",
    freeze_base: bool = True,
) -> None:
    """Add low-rank adapters to the encoder's linear layers, through PEFT; the head stays outside.

    Source: Hu et al. 2022, LoRA; Dettmers et al. 2023, QLoRA, section 4 (all linear layers).

    Args:
        modules: which layers get them, such as `encoder.layer[-2:]`.
        r: rank.
        alpha: scale; what an adapter adds is multiplied with alpha / r.
        dropout: probability of dropping an adapter's input.
        targets: every linear layer, or those of attention only.
        freeze_base: whether the encoder's own parameters are frozen until the adapters are merged.
    """
    if r < 1 or alpha <= 0 or not 0 <= dropout < 1:
        raise EditError(f"Expected r and alpha above 0 and dropout from 0 to below 1, got {r}, {alpha} and {dropout}.")
    model = run.encoder_with_head
    if model.config.adapters is not None:
        raise EditError("There are adapters already; merge_lora before further ones are added.")
    mask = {name: parameter.requires_grad for name, parameter in model.encoder.named_parameters()}
    settings = AdapterSettings(_find_targets(model, modules, targets), r, alpha, dropout)
    inject_adapters(model.encoder, settings)
    model.config.adapters = asdict(settings)
    model.mask_before_adapters = mask
    for name, parameter in model.encoder.named_parameters():
        is_adapter = ADAPTER.search(name) is not None
        parameter.requires_grad_(is_adapter or (not freeze_base and mask[plain_name(name)]))
        if not parameter.requires_grad:
            parameter.grad = None
        if is_adapter:
            run.fresh.add(parameter)


@register_edit("merge_lora")
def merge_lora(run: Editable) -> None:
    """Add what the adapters learned to the encoder's weights, and take them out.

    What was frozen before add_lora is frozen, the rest is trained again. The outputs stay the same, up to rounding.

    Source: Hu et al. 2022, LoRA, section 4.1.
    """
    model = run.encoder_with_head
    if model.config.adapters is None:
        raise EditError("There are no adapters to merge; add_lora comes first.")
    targets = model.config.adapters["targets"]
    merge_adapters(model.encoder)
    # What was learned about the weights without the adapters' part does not hold for the sum.
    run.fresh |= {model.encoder.get_submodule(target).get_parameter("weight") for target in targets}
    model.config.adapters = None
    mask, model.mask_before_adapters = model.mask_before_adapters, None
    for name, parameter in model.encoder.named_parameters():
        parameter.requires_grad_(mask is None or mask[name])


def _find_targets(model: EncoderWithHead, modules: str, targets: str) -> list[str]:
    """Return the raw names, inside the encoder, of the linear layers in some of its layers."""
    inside = {name.removeprefix("encoder.") for name in select_modules(model, modules)}
    found = [
        name
        for name, module in model.encoder.named_modules()
        if name in inside and isinstance(module, nn.Linear) and (targets == "linear" or ".att" in name)
    ]
    if not found:
        raise EditError(f"There is no linear layer for an adapter in '{modules}' (targets: {targets}).")
    return found
