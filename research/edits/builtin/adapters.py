"""Add low-rank adapters to frozen weights, and merge them."""

from __future__ import annotations

from dataclasses import asdict

from heads.registry import Registry
from research.edits.base import Editable, EditError, EditFunction, register_edit
from research.model.adapter_targets import find_targets
from research.model.adapters import AdapterSettings, inject_adapters, merge_adapters, name_without_adapters
from research.model.selector_forms import Targets
from research.model.selectors import ADAPTER, select_modules

PEFT: Registry[EditFunction] = Registry("peft")
"""Edits that add adapters, available as --peft at the start of a run."""


@PEFT.register("lora")
@register_edit("add_lora")
def add_lora(
    run: Editable,
    *,
    modules: str = "encoder.layer",
    r: int = 8,
    alpha: int = 16,
    dropout: float = 0.0,
    targets: Targets = "linear",
    freeze_base: bool = True,
) -> None:
    """Add low-rank adapters to linear layers of the encoder, with the PEFT library. The head gets no adapters.

    Source: Hu et al. 2022, LoRA; Dettmers et al. 2023, QLoRA, section 4 (all linear layers).

    Args:
        modules: selector of the encoder's modules whose linear layers get adapters, such as `encoder.layer[-2:]`.
        r: rank of the adapters.
        alpha: scale of the adapters; their output is multiplied by alpha / r.
        dropout: dropout probability of the adapters' input.
        targets: `linear` for all linear layers, `attention` for those in attention modules only, or names of linear
            layers within the encoder, as a list or separated by commas. Globs such as `*.q_proj` are possible.
        freeze_base: whether to freeze the encoder's original parameters until the adapters are merged.
    """
    if r < 1 or alpha <= 0 or not 0 <= dropout < 1:
        raise EditError(
            f"Expected r and alpha above 0 and dropout of at least 0 and less than 1; got {r}, {alpha} and {dropout}."
        )
    model = run.encoder_with_head
    if model.config.adapters is not None:
        raise EditError("The encoder already has adapters. Merge them with merge_lora before adding new ones.")
    was_trainable = {name: parameter.requires_grad for name, parameter in model.encoder.named_parameters()}
    selected = {name.removeprefix("encoder.") for name in select_modules(model, modules)}
    settings = AdapterSettings(find_targets(model.encoder, selected, targets), r, alpha, dropout)
    inject_adapters(model.encoder, settings)
    model.config.adapters = asdict(settings)
    model.trainable_before_adapters = was_trainable
    for name, parameter in model.encoder.named_parameters():
        is_adapter = ADAPTER.search(name) is not None
        parameter.requires_grad_(is_adapter or (not freeze_base and was_trainable[name_without_adapters(name)]))
        if not parameter.requires_grad:
            parameter.grad = None
        if is_adapter:
            run.new_parameters.add(parameter)


@register_edit("merge_lora")
def merge_lora(run: Editable) -> None:
    """Merge the adapters into the encoder's weights and remove them.

    The encoder's parameters are frozen or trainable as they were before add_lora. The outputs do not change, except for
    rounding.

    Source: Hu et al. 2022, LoRA, section 4.1.
    """
    model = run.encoder_with_head
    if model.config.adapters is None:
        raise EditError("The encoder has no adapters to merge. Add them with add_lora first.")
    targets = model.config.adapters["targets"]
    merge_adapters(model.encoder)
    # The optimizer's state belongs to the weights without the adapters, not to the merged weights.
    run.new_parameters |= {model.encoder.get_submodule(target).get_parameter("weight") for target in targets}
    model.config.adapters = None
    was_trainable, model.trainable_before_adapters = model.trainable_before_adapters, None
    for name, parameter in model.encoder.named_parameters():
        is_used = parameter not in model.unused_parameters
        parameter.requires_grad_(is_used if was_trainable is None else was_trainable[name])
