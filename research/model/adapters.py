"""Adapters in an encoder, implemented with the PEFT library."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from research.model.prompt_tuning import PROMPT_TUNING, add_prompt
from research.system.bitsandbytes_messages import mute_missing_kernels
from research.system.errors import one_line


@dataclass(frozen=True)
class AdapterKind:
    """A kind of adapters in linear layers."""

    config: str
    """Name of the class of its settings in PEFT."""
    fixed_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of this class that distinguish the kind from another one with the same class."""
    supports_transposed: bool = True
    """Whether it supports layers that store their weights transposed, like those of GPT-2."""


ADAPTER_KINDS = {
    "lora": AdapterKind("LoraConfig"),
    "dora": AdapterKind("LoraConfig", {"use_dora": True}),
    "rslora": AdapterKind("LoraConfig", {"use_rslora": True}),
    "ia3": AdapterKind("IA3Config"),
    "oft": AdapterKind("OFTConfig", supports_transposed=False),
    # Its random matrices are computed again from projection_prng_key. Otherwise, each layer would save a copy of them.
    "vera": AdapterKind("VeraConfig", {"save_projection": False}),
}
"""Kinds of adapters in linear layers by their names."""


@dataclass(frozen=True)
class AdapterSettings:
    """Settings of an encoder's adapters, stored in the config of a saved model."""

    kind: str
    """Kind of the adapters, a key of `ADAPTER_KINDS` or `PROMPT_TUNING`."""
    targets: list[str]
    """Names, within the encoder, of the linear layers with adapters; none for prompt tuning."""
    options: dict[str, Any]
    """Options of the adapters, by the names that PEFT gives them."""

    @classmethod
    def from_config(cls, value: Mapping[str, Any]) -> AdapterSettings:
        """Return the settings in a model's config."""
        if "kind" in value:
            return cls(**value)
        # A model saved when LoRA was the only kind.
        options = {"r": value["r"], "lora_alpha": value["alpha"], "lora_dropout": value["dropout"]}
        return cls("lora", value["targets"], options)

    def renamed(self, new_names: Mapping[str, str]) -> AdapterSettings:
        """Return the settings with new names of layers, without the layers that have none."""
        lists = {
            name: [new_names[target] for target in value if target in new_names]
            for name, value in self._lists().items()
        }
        targets = lists.pop("target_modules")
        return AdapterSettings(self.kind, targets, self.options | lists)

    def to_peft(self, *, prefix: str = "", transposed: bool = False, **options: Any) -> Any:
        """Return the settings as an object of PEFT.

        Args:
            prefix: part of the names of the targets before their names within the encoder.
            transposed: whether some of the layers store their weights transposed.
            **options: further options of PEFT.
        """
        import peft  # here, because importing it takes a second or two

        kind = ADAPTER_KINDS[self.kind]
        lists = {name: [f"{prefix}{target}" for target in value] for name, value in self._lists().items()}
        with warnings.catch_warnings():
            # See ADAPTER_KINDS.
            warnings.filterwarnings("ignore", "Specified to not save vera_A and vera_B", UserWarning)
            return getattr(peft, kind.config)(
                **{**kind.fixed_options, **self.options, **lists, **options}, fan_in_fan_out=transposed
            )

    def _lists(self) -> dict[str, list[str]]:
        """Return the options that are names of layers."""
        lists = {"target_modules": self.targets}
        if "feedforward_modules" in self.options:
            lists["feedforward_modules"] = self.options["feedforward_modules"]
        return lists


def inject_adapters(encoder: PreTrainedModel, settings: AdapterSettings) -> None:
    """Add adapters to linear layers. New adapters do not change the outputs, except for rounding.

    Raises:
        ValueError: if PEFT does not support adapters in these layers of this encoder.
    """
    if settings.kind == PROMPT_TUNING:
        add_prompt(encoder, settings.options)
        return
    mute_missing_kernels()  # PEFT imports bitsandbytes if it is installed
    from peft import VeraModel, inject_adapter_in_model

    family = encoder.config.model_type
    transposed = has_transposed_layers(encoder, settings.targets)
    if transposed and not ADAPTER_KINDS[settings.kind].supports_transposed:
        raise ValueError(
            f"The adapters '{settings.kind}' do not support the layers of the family '{family}', which store their "
            "weights transposed (Conv1D). Choose --peft lora."
        )
    with warnings.catch_warnings():
        # The setting is for the whole encoder. PEFT corrects it, with a warning, for each layer of the other class.
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to", UserWarning)
        try:
            if settings.kind == "vera":
                # PEFT's function refuses it, because the matrices belong to this object; the layers refer to them, too.
                # On the CPU also when Transformers loads a model without values, since random numbers need a device.
                with torch.device("cpu"):
                    VeraModel(encoder, settings.to_peft(transposed=transposed), "default")
            else:
                inject_adapter_in_model(settings.to_peft(transposed=transposed), encoder)
        except (ValueError, NotImplementedError) as error:
            raise ValueError(
                f"PEFT cannot add these adapters to an encoder of the family '{family}': {one_line(error)}"
            ) from error


def restore_unsaved_buffers(encoder: PreTrainedModel, settings: AdapterSettings) -> None:
    """Compute the buffers of adapters that are not saved, which Transformers leaves empty when it loads a model."""
    if settings.kind not in ("oft", "vera"):
        return
    from peft.tuners.oft.layer import OFTRotationModule
    from peft.tuners.vera.layer import VeraLayer

    layers: list[Any] = [module for module in encoder.modules() if isinstance(module, OFTRotationModule | VeraLayer)]
    if settings.kind == "vera":
        num_inputs, num_outputs = (max(getattr(each, f"{side}_features") for each in layers) for side in ("in", "out"))
        matrices = _draw_vera_matrices(settings, num_inputs, num_outputs)
    for layer in layers:
        if settings.kind == "oft":
            rows, columns = torch.triu_indices(layer.block_size, layer.block_size, 1)
            layer.rows.copy_(rows)
            layer.cols.copy_(columns)
        else:
            for buffers, matrix in zip((layer.vera_A, layer.vera_B), matrices, strict=True):
                buffers["default"] = matrix.to(buffers["default"])


def _draw_vera_matrices(settings: AdapterSettings, num_inputs: int, num_outputs: int) -> tuple[Tensor, Tensor]:
    """Return the random matrices that PEFT draws for a key and the largest layer, [r, inputs] and [outputs, r]."""
    from peft import VeraModel

    layer = nn.ModuleDict({"layer": nn.Linear(num_inputs, num_outputs, bias=False)})
    tuner: Any = VeraModel(layer, dataclasses.replace(settings, targets=["layer"]).to_peft(), "default")
    return tuner.vera_A["default"], tuner.vera_B["default"]


def has_transposed_layers(encoder: PreTrainedModel, targets: list[str]) -> bool:
    """Return whether any of the named layers stores its weight transposed, as [in, out], like the layers of GPT-2."""
    layers = (encoder.get_submodule(target) for target in targets)
    return any(isinstance(getattr(layer, "base_layer", layer), Conv1D) for layer in layers)


def merge_adapters(encoder: PreTrainedModel) -> None:
    """Merge the adapters into the weights of their linear layers, and remove them."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(encoder.named_modules()):
        if isinstance(module, BaseTunerLayer) and hasattr(module, "base_layer"):
            module.merge()
            parent, _, attribute = name.rpartition(".")
            setattr(encoder.get_submodule(parent), attribute, module.get_base_layer())
    del encoder.peft_config


def name_without_adapters(name: str) -> str:
    """Return the name that a module or parameter has without adapters: PEFT wraps the layers with adapters."""
    return name.replace(".base_layer", "")
