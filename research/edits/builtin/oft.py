"""Add adapters that rotate weights."""

from __future__ import annotations

from research.edits.base import Editable, EditError, register_edit
from research.edits.builtin.adapters import PEFT, add_adapters, find_layers
from research.model.selector_forms import Targets


@PEFT.register("oft")
@register_edit("add_oft")
def add_oft(
    run: Editable,
    *,
    modules: str = "encoder.layer",
    oft_block_size: int = 32,
    module_dropout: float = 0.0,
    targets: Targets = "linear",
    freeze_base: bool = True,
) -> None:
    """Add adapters that rotate the input of linear layers with learned orthogonal blocks, with the PEFT library.

    Source: Qiu et al. 2023, Controlling Text-to-Image Diffusion by Orthogonal Finetuning; Qiu et al. 2025, Orthogonal
    Finetuning Made Scalable (the Cayley-Neumann approximation, which PEFT uses).

    Args:
        modules: selector of the encoder's modules whose linear layers get adapters, such as `encoder.layer[-2:]`.
        oft_block_size: size of the blocks, which must divide the number of inputs of every layer with adapters.
        module_dropout: probability with which a block is replaced by the identity in training.
        targets: layers that get adapters; see `add_lora`.
        freeze_base: whether to freeze the encoder's original parameters until the adapters are merged.
    """
    if oft_block_size < 2 or not 0 <= module_dropout < 1:
        raise EditError(
            "Expected oft_block_size of at least 2 and module_dropout of at least 0 and less than 1; got "
            f"{oft_block_size} and {module_dropout}."
        )
    layers = find_layers(run, modules, targets)
    encoder = run.encoder_with_head.encoder
    for name in layers:
        num_inputs = getattr(encoder.get_submodule(name), "in_features", None)
        if isinstance(num_inputs, int) and num_inputs % oft_block_size:
            raise EditError(
                f"Expected oft_block_size to divide the {num_inputs} inputs of {name}, got {oft_block_size}. Choose "
                "a divisor, or other targets."
            )
    options = {"oft_block_size": oft_block_size, "module_dropout": module_dropout}
    add_adapters(run, "oft", layers, freeze_base=freeze_base, **options)
