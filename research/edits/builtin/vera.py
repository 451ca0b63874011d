"""Add adapters that scale fixed random projections."""

from __future__ import annotations

import torch

from research.edits.base import Editable, EditError, register_edit
from research.edits.builtin.adapters import PEFT, add_adapters, find_layers
from research.model.selector_forms import Targets


@PEFT.register("vera")
@register_edit("add_vera")
def add_vera(
    run: Editable,
    *,
    modules: str = "encoder.layer",
    r: int = 256,
    vera_dropout: float = 0.0,
    d_initial: float = 0.1,
    targets: Targets = "linear",
    freeze_base: bool = True,
) -> None:
    """Add low-rank adapters with fixed random matrices, which all layers share, and two learned vectors per layer.

    Source: Kopiczko et al. 2024, VeRA: Vector-based Random Matrix Adaptation.

    Args:
        modules: selector of the encoder's modules whose linear layers get adapters, such as `encoder.layer[-2:]`.
        r: rank of the random matrices; higher than for LoRA, since it hardly changes the number of parameters.
        vera_dropout: dropout probability of the adapters' input.
        d_initial: initial value of the vector that scales the rows of the first matrix.
        targets: layers that get adapters; see `add_lora`.
        freeze_base: whether to freeze the encoder's original parameters until the adapters are merged.
    """
    if r < 1 or d_initial <= 0 or not 0 <= vera_dropout < 1:
        raise EditError(
            "Expected r and d_initial above 0 and vera_dropout of at least 0 and less than 1; got "
            f"{r}, {d_initial} and {vera_dropout}."
        )
    layers = find_layers(run, modules, targets)
    # Drawn in the edit, so that the matrices depend on the seed of the run and the number of the edit.
    key = int(torch.randint(2**31, ()))
    options = {"r": r, "vera_dropout": vera_dropout, "d_initial": d_initial, "projection_prng_key": key}
    add_adapters(run, "vera", layers, freeze_base=freeze_base, **options)
