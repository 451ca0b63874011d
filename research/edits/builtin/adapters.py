"""Add adapters of any kind to frozen weights, and merge them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from heads.registry import Registry
from research.edits.base import Editable, EditError, EditFunction, register_edit
from research.model.adapter_targets import find_targets
from research.model.adapters import AdapterSettings, inject_adapters, name_without_adapters
from research.model.adapters import merge_adapters as merge_into_weights
from research.model.base_dtype import restore_base_weights, stored_modules
from research.model.encoder_with_head import EncoderWithHead
from research.model.prompt_tuning import PROMPT_TUNING
from research.model.selector_forms import Targets
from research.model.selectors import ADAPTER, select_modules

PEFT: Registry[EditFunction] = Registry("peft", built_in="research.edits.builtin")
"""Edits that add adapters, available as --peft at the start of a run."""


def find_layers(run: Editable, modules: str, targets: Targets) -> list[str]:
    """Return the names, within the encoder, of the linear layers that get adapters.

    Args:
        run: the run.
        modules: selector of the encoder's modules whose linear layers get adapters.
        targets: see `find_targets`.
    Raises:
        EditError: if the encoder already has adapters.
        ValueError: if there are no such layers.
    """
    check_has_no_adapters(run)
    model = run.encoder_with_head
    selected = {name.removeprefix("encoder.") for name in select_modules(model, modules)}
    return find_targets(model.encoder, {name for name in selected if _supports_adapters(model, name)}, targets)


def _supports_adapters(model: EncoderWithHead, name: str) -> bool:
    """Return whether the adapters of a module of the encoder would get a gradient."""
    module = model.encoder.get_submodule(name)
    return module not in model.uncalled_layers and not model.unused_parameters & set(module.parameters())


def check_has_no_adapters(run: Editable) -> None:
    """Check that adapters can be added.

    Raises:
        EditError: if the encoder already has adapters.
    """
    adapters = run.encoder_with_head.config.adapters
    if adapters is not None:
        advice = (
            "Use only one kind of adapters: prompt tuning cannot be merged."
            if AdapterSettings.from_config(adapters).kind == PROMPT_TUNING
            else "Merge them with merge_adapters before adding new ones."
        )
        raise EditError(f"The encoder already has adapters. {advice}")


def add_adapters(run: Editable, kind: str, layers: list[str], *, freeze_base: bool, **options: Any) -> None:
    """Add adapters to linear layers of the encoder, and freeze its original parameters if requested.

    Args:
        run: the run.
        kind: kind of the adapters.
        layers: names of the layers within the encoder.
        freeze_base: whether to freeze the encoder's original parameters until the adapters are merged.
        **options: options of the adapters, by the names that PEFT gives them.
    Raises:
        ValueError: if PEFT does not support these adapters.
    """
    model = run.encoder_with_head
    if not freeze_base and stored_modules(model.encoder):
        raise EditError(
            f"Expected freeze_base true with --base_dtype {run.config.base_dtype}, which stores frozen weights; got "
            "false. Use --base_dtype float32 to train the encoder's own weights."
        )
    was_trainable = {name: parameter.requires_grad for name, parameter in model.encoder.named_parameters()}
    settings = AdapterSettings(kind, layers, options)
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


@register_edit("merge_adapters")
def merge_adapters(run: Editable) -> None:
    """Merge adapters of any kind into the encoder's weights and remove them.

    The encoder's parameters are frozen or trainable as they were before the adapters were added. The outputs do not
    change, except for rounding. Weights that --base_dtype stores in fewer bits are first converted to float32, and stay
    frozen.

    Source: Hu et al. 2022, LoRA, section 4.1.
    """
    model = run.encoder_with_head
    if model.config.adapters is None:
        raise EditError("The encoder has no adapters to merge. Add them with an edit such as add_lora first.")
    settings = AdapterSettings.from_config(model.config.adapters)
    if settings.kind == PROMPT_TUNING:
        raise EditError(
            "Prompt tuning cannot be merged: its virtual tokens are inputs, not weights. Remove this edit from the "
            "timeline."
        )
    targets = settings.targets
    restore_base_weights(model.encoder)
    merge_into_weights(model.encoder)
    # The optimizer's state belongs to the weights without the adapters, not to the merged weights. Some kinds of
    # adapters change biases, too.
    for target in targets:
        run.new_parameters |= set(model.encoder.get_submodule(target).parameters())
    model.config.adapters = None
    was_trainable, model.trainable_before_adapters = model.trainable_before_adapters, None
    for name, parameter in model.encoder.named_parameters():
        is_used = parameter not in model.unused_parameters
        parameter.requires_grad_(is_used if was_trainable is None else was_trainable[name])


@register_edit("merge_lora")
def merge_lora(run: Editable) -> None:
    """Merge the adapters into the encoder's weights and remove them; the same as merge_adapters.

    Source: Hu et al. 2022, LoRA, section 4.1.
    """
    merge_adapters(run)
