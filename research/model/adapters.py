"""Low-rank adapters in an encoder, through PEFT."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel


@dataclass(frozen=True)
class AdapterSettings:
    """The adapters of an encoder, as a saved model's config keeps them."""

    targets: list[str]
    """Raw names of the linear layers that have one, inside the encoder."""
    r: int
    """Rank."""
    alpha: int
    """Scale, times the rank."""
    dropout: float
    """Probability of dropping an adapter's input."""


def inject_adapters(encoder: PreTrainedModel, settings: AdapterSettings) -> None:
    """Put adapters beside linear layers; at first they add nothing."""
    from peft import LoraConfig, inject_adapter_in_model  # here, since it takes a second or two

    inject_adapter_in_model(
        LoraConfig(
            target_modules=settings.targets, r=settings.r, lora_alpha=settings.alpha, lora_dropout=settings.dropout
        ),
        encoder,
    )


def merge_adapters(encoder: PreTrainedModel) -> None:
    """Add what adapters learned to the weights beside them, and take the adapters out."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(encoder.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, attribute = name.rpartition(".")
            setattr(encoder.get_submodule(parent), attribute, module.get_base_layer())
    del encoder.peft_config


def plain_name(name: str) -> str:
    """Return the raw name that a module or parameter has without adapters: PEFT wraps what they lie beside."""
    return name.replace(".base_layer", "")
