"""Add adapters that scale activations."""

from __future__ import annotations

from research.edits.base import Editable, register_edit
from research.edits.builtin.adapters import PEFT, add_adapters, find_layers
from research.model.adapter_targets import find_targets
from research.model.selector_forms import Targets


@PEFT.register("ia3")
@register_edit("add_ia3", touches="modules")
def add_ia3(
    run: Editable,
    *,
    modules: str = "encoder.layer",
    targets: Targets = "linear",
    feedforward_modules: list[str] | str | None = None,
    freeze_base: bool = True,
) -> None:
    """Add adapters that multiply the output of linear layers by a learned vector, with the PEFT library.

    Source: Liu et al. 2022, Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning,
    section 3.3 ((IA)^3). Differs: by default, the outputs of all linear layers are scaled. The paper scales the keys,
    the values and the input of the last feed-forward layer; name these layers in `targets` and `feedforward_modules`.

    Args:
        modules: selector of the encoder's modules whose linear layers get adapters, such as `encoder.layer[-2:]`.
        targets: layers that get adapters; see `add_lora`.
        feedforward_modules: those of the targets whose input is scaled instead of the output, by their names.
        freeze_base: whether to freeze the encoder's original parameters until the adapters are merged.
    """
    layers = find_layers(run, modules, targets)
    inputs = (
        [] if feedforward_modules is None else find_targets(run.encoder_with_head.encoder, layers, feedforward_modules)
    )
    add_adapters(run, "ia3", layers, freeze_base=freeze_base, feedforward_modules=inputs)
