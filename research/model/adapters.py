"""Low-rank adapters in an encoder, implemented with the PEFT library."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from research.system.bitsandbytes_messages import mute_missing_kernels
from research.system.errors import one_line


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
    """Add adapters to linear layers. New adapters do not change the outputs.

    Raises:
        ValueError: if PEFT does not support adapters in these layers of this encoder.
    """
    mute_missing_kernels()  # PEFT imports bitsandbytes if it is installed
    from peft import LoraConfig, inject_adapter_in_model  # here, because importing it takes a second or two

    config = LoraConfig(
        target_modules=settings.targets,
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        fan_in_fan_out=has_transposed_layers(encoder, settings.targets),
    )
    with warnings.catch_warnings():
        # The setting is for the whole encoder. PEFT corrects it, with a warning, for each layer of the other class.
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to", UserWarning)
        try:
            inject_adapter_in_model(config, encoder)
        except (ValueError, NotImplementedError) as error:
            raise ValueError(
                f"PEFT cannot add these adapters to an encoder of the family '{encoder.config.model_type}': "
                f"{one_line(error)}"
            ) from error


def has_transposed_layers(encoder: PreTrainedModel, targets: list[str]) -> bool:
    """Return whether any of the named layers stores its weight transposed, as [in, out], like the layers of GPT-2."""
    return any(isinstance(encoder.get_submodule(target), Conv1D) for target in targets)


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
