"""Low-rank adapters in an encoder, implemented with the PEFT library."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from research.system.bitsandbytes_messages import mute_missing_kernels


@dataclass(frozen=True)
class AdapterSettings:
    """Settings of an encoder's adapters, stored in the config of a saved model."""

    targets: list[str]
    """Names, within the encoder, of the linear layers with adapters."""
    r: int
    """Rank of the adapters."""
    alpha: int
    """Scale of the adapters; their output is multiplied by alpha / r."""
    dropout: float
    """Dropout probability of the adapters' input."""


def inject_adapters(encoder: PreTrainedModel, settings: AdapterSettings) -> None:
    """Add adapters to linear layers. New adapters do not change the outputs."""
    mute_missing_kernels()  # PEFT imports bitsandbytes if it is installed
    from peft import LoraConfig, inject_adapter_in_model  # here, because importing it takes a second or two

    inject_adapter_in_model(
        LoraConfig(
            target_modules=settings.targets, r=settings.r, lora_alpha=settings.alpha, lora_dropout=settings.dropout
        ),
        encoder,
    )


def merge_adapters(encoder: PreTrainedModel) -> None:
    """Merge the adapters into the weights of their linear layers, and remove them."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(encoder.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, attribute = name.rpartition(".")
            setattr(encoder.get_submodule(parent), attribute, module.get_base_layer())
    del encoder.peft_config


def name_without_adapters(name: str) -> str:
    """Return the name that a module or parameter has without adapters: PEFT wraps the layers with adapters."""
    return name.replace(".base_layer", "")
