"""Low-rank adapters in an encoder, through PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from research.model import EncoderWithHead


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

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> AdapterSettings:
        """Read them from a config."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return them for a config."""
        return asdict(self)


def find_targets(encoder: PreTrainedModel, modules: str, targets: str, model: EncoderWithHead) -> list[str]:
    """Return the raw names of the linear layers in some of an encoder's layers.

    Raises:
        ValueError: if there are none.
    """
    from research.selectors import select_modules

    inside = {name.removeprefix("encoder.") for name in select_modules(model, modules)}
    found = [
        name
        for name, module in encoder.named_modules()
        if name in inside and isinstance(module, nn.Linear) and (targets == "linear" or ".att" in name)
    ]
    if not found:
        raise ValueError(f"There is no linear layer for an adapter in '{modules}' (targets: {targets}).")
    return found


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
