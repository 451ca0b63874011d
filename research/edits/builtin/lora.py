"""Add low-rank adapters, in three variants."""

from __future__ import annotations

from research.edits.base import Editable, EditError, register_edit
from research.edits.builtin.adapters import PEFT, add_adapters, find_layers
from research.model.selector_forms import Targets


@PEFT.register("lora")
@register_edit("add_lora", touches="modules")
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
    _add(run, "lora", modules, targets, freeze_base, r=r, lora_alpha=alpha, lora_dropout=dropout)


@PEFT.register("dora")
@register_edit("add_dora")
def add_dora(
    run: Editable,
    *,
    modules: str = "encoder.layer",
    r: int = 8,
    lora_alpha: int = 16,
    lora_dropout: float = 0.0,
    targets: Targets = "linear",
    freeze_base: bool = True,
) -> None:
    """Add low-rank adapters that learn the magnitude of each weight vector separately from its direction.

    Source: Liu et al. 2024, DoRA: Weight-Decomposed Low-Rank Adaptation.

    Args:
        modules: selector of the encoder's modules whose linear layers get adapters, such as `encoder.layer[-2:]`.
        r: rank of the adapters.
        lora_alpha: scale of the adapters; their output is multiplied by lora_alpha / r.
        lora_dropout: dropout probability of the adapters' input.
        targets: layers that get adapters; see `add_lora`.
        freeze_base: whether to freeze the encoder's original parameters until the adapters are merged.
    """
    _add(run, "dora", modules, targets, freeze_base, r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout)


@PEFT.register("rslora")
@register_edit("add_rslora", touches="modules")
def add_rslora(
    run: Editable,
    *,
    modules: str = "encoder.layer",
    r: int = 8,
    lora_alpha: int = 16,
    lora_dropout: float = 0.0,
    targets: Targets = "linear",
    freeze_base: bool = True,
) -> None:
    """Add low-rank adapters whose output is multiplied by lora_alpha / sqrt(r), which suits high ranks.

    Source: Kalajdzievski 2023, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA.

    Args:
        modules: selector of the encoder's modules whose linear layers get adapters, such as `encoder.layer[-2:]`.
        r: rank of the adapters.
        lora_alpha: scale of the adapters; their output is multiplied by lora_alpha / sqrt(r).
        lora_dropout: dropout probability of the adapters' input.
        targets: layers that get adapters; see `add_lora`.
        freeze_base: whether to freeze the encoder's original parameters until the adapters are merged.
    """
    _add(run, "rslora", modules, targets, freeze_base, r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout)


def _add(
    run: Editable,
    kind: str,
    modules: str,
    targets: Targets,
    freeze_base: bool,
    *,
    r: int,
    lora_alpha: int,
    lora_dropout: float,
) -> None:
    if r < 1 or lora_alpha <= 0 or not 0 <= lora_dropout < 1:
        raise EditError(
            "Expected r and alpha above 0 and dropout of at least 0 and less than 1; got "
            f"{r}, {lora_alpha} and {lora_dropout}."
        )
    layers = find_layers(run, modules, targets)
    options = {"r": r, "lora_alpha": lora_alpha, "lora_dropout": lora_dropout}
    add_adapters(run, kind, layers, freeze_base=freeze_base, **options)
