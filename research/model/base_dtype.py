"""Store the weights of a frozen encoder in fewer bits, while it computes in the precision of the run.

The matrices of linear layers and embeddings are stored; norms, biases and adapters stay in float32. A layer decodes its
weight when it needs it, and again in the backward pass, instead of keeping the decoded weight.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from research.settings.config import BaseDtype
from research.system.bitsandbytes_messages import mute_missing_kernels

BLOCK_SIZE = 64
"""Number of successive int4 weights with one scale."""
INT4_DEVICES = ("cpu", "cuda", "xpu", "meta")
"""Devices for which bitsandbytes has kernels of 4-bit weights, and the device of rehearsals."""
SCALES = "weight_scales"
"""Buffer of a layer with the scales of its stored weight."""


class StoredWeight(nn.Module):
    """Base of layers whose weight is stored in fewer bits.

    `weight` is the decoded weight in float32, computed at every access, so that other code, such as that of PEFT, reads
    the values that the layer uses. The parameter of this name has the stored values. Like a layer that is sharded by
    PyTorch's `fully_shard`, an existing layer gets a class of this kind, and stays the same object.
    """

    original_class: type[nn.Module]
    """Class of the layer before its weight was stored."""
    stored_dtype: BaseDtype
    """How the weight is stored."""
    weight_shape: torch.Size
    """Shape of the decoded weight."""

    @property
    def weight(self) -> Tensor:
        """The weight in float32, which cannot be trained."""
        return decode(*self.stored_values(), self.stored_dtype, self.weight_shape)

    def stored_values(self) -> tuple[Tensor, Tensor | None]:
        """Return the stored weight and its scales; bf16 has none."""
        weight = self._parameters["weight"]
        assert weight is not None
        return weight.detach(), self._buffers.get(SCALES)

    def multiply(self, inputs: Tensor, *, transposed: bool) -> Tensor:
        """Return the product of inputs, [..., in], and the weight, plus the bias, [..., out].

        Args:
            inputs: the inputs.
            transposed: whether the weight is [in, out] instead of [out, in].
        """
        kind = inputs.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
        values, scales = self.stored_values()
        form = (self.stored_dtype, tuple(self.weight_shape), transposed)
        product: Tensor = _Product.apply(inputs.to(dtype), values, scales, *form)  # type: ignore[no-untyped-call]
        bias = self._parameters.get("bias")
        return product if bias is None else product + bias.to(dtype)


class StoredLinear(StoredWeight, nn.Linear):  # type: ignore[override]
    """A linear layer with a stored weight."""

    original_class = nn.Linear

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs * weight^T + bias."""
        return self.multiply(inputs, transposed=False)


class StoredConv1D(StoredWeight, Conv1D):  # type: ignore[misc]
    """A linear layer of GPT-2, whose weight is [in, out], with a stored weight."""

    original_class = Conv1D

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs * weight + bias."""
        return self.multiply(inputs, transposed=True)


class StoredEmbedding(StoredWeight, nn.Embedding):  # type: ignore[override]
    """Embeddings that are stored in bf16."""

    original_class = nn.Embedding

    def forward(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ids in float32. Only their rows are decoded."""
        values, _ = self.stored_values()
        return functional.embedding(ids, values, self.padding_idx).float()


class _Product(torch.autograd.Function):
    """The product with a stored weight. The backward pass decodes the weight again."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        values: Tensor,
        scales: Tensor | None,
        stored: BaseDtype,
        shape: tuple[int, ...],
        transposed: bool,
    ) -> Tensor:
        ctx.save_for_backward(values, scales)
        ctx.form = (stored, shape, transposed)
        weight = decode(values, scales, stored, shape).to(inputs.dtype)
        return inputs @ (weight if transposed else weight.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, scales = ctx.saved_tensors
        stored, shape, transposed = ctx.form
        weight = decode(values, scales, stored, shape).to(gradient.dtype)
        return gradient @ (weight.T if transposed else weight), None, None, None, None, None


def decode(values: Tensor, scales: Tensor | None, stored: BaseDtype, shape: tuple[int, ...]) -> Tensor:
    """Return a weight in float32.

    Args:
        values: the stored values.
        scales: the scales of the values; None for bf16.
        stored: how the weight is stored.
        shape: shape of the weight.
    """
    if stored == "bf16":
        return values.float()
    assert scales is not None
    if stored == "int8":
        return values * scales.unsqueeze(1)
    if values.is_meta:
        return torch.empty(shape, device="meta")
    mute_missing_kernels()
    from bitsandbytes import functional as bitsandbytes  # here, because importing it takes a second

    code = bitsandbytes.get_4bit_type("nf4", device=values.device)
    options = {"blocksize": BLOCK_SIZE, "quant_type": "nf4", "dtype": torch.float32}
    # As one row: on the CPU, bitsandbytes decodes wrong values if a row is not a whole number of blocks.
    state = bitsandbytes.QuantState(scales, torch.Size([1, math.prod(shape)]), code, **options)
    decoded: Tensor = bitsandbytes.dequantize_4bit(values, state).view(shape)
    return decoded


def encode(weight: Tensor, stored: BaseDtype) -> tuple[Tensor, Tensor | None]:
    """Return the stored values of a weight, and their scales.

    Sources: Dettmers et al. 2022, LLM.int8(), section 2.1 (int8; one scale for each row); Dettmers et al. 2023, QLoRA,
    section 3 (int4: 4-bit NormalFloat, implemented by bitsandbytes). Differs: scales are not quantized again.

    Args:
        weight: the weight in float32, [rows, columns].
        stored: how to store it.
    """
    if stored == "bf16":
        return weight.to(torch.bfloat16), None
    if stored == "int8":
        scales = weight.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / 127
        return (weight / scales.unsqueeze(1)).round().to(torch.int8), scales
    if weight.is_meta:
        packed = torch.empty(((weight.numel() + 1) // 2, 1), dtype=torch.uint8, device="meta")
        return packed, torch.empty(-(-weight.numel() // BLOCK_SIZE), device="meta")
    mute_missing_kernels()
    from bitsandbytes import functional as bitsandbytes

    values, state = bitsandbytes.quantize_4bit(weight.contiguous(), blocksize=BLOCK_SIZE, quant_type="nf4")
    return values, state.absmax


def check_trainable(parameters: Iterable[nn.Parameter], model: nn.Module) -> None:
    """Check that none of these parameters is stored in fewer bits, before they train or change.

    Raises:
        ValueError: if one is.
    """
    wanted = set(parameters)
    for name, module in stored_modules(model).items():
        if module._parameters["weight"] in wanted:
            raise ValueError(
                f"Expected only parameters in float32 to train, got {name}.weight, which --base_dtype stores in "
                f"{module.stored_dtype}. Select other parameters, or use --base_dtype float32."
            )


def store_base_weights(encoder: PreTrainedModel, base_dtype: BaseDtype, device: torch.device) -> None:
    """Store the weights of an encoder's linear layers and embeddings in fewer bits, and freeze them.

    With int8 and int4, the embeddings are stored in bf16.

    Args:
        encoder: the encoder, in float32.
        base_dtype: how to store the weights; nothing changes for float32.
        device: device to which the encoder will be moved.
    Raises:
        ValueError: if the device does not support the data type.
    """
    if base_dtype == "float32":
        return
    if base_dtype == "int4" and device.type not in INT4_DEVICES:
        raise ValueError(
            f"Expected a CPU or a CUDA or Intel GPU for --base_dtype int4; got the device {device.type}, for which "
            "bitsandbytes has no kernels of 4-bit weights. Choose --base_dtype int8."
        )
    for parameter, modules in _modules_by_weight(encoder).items():
        classes = {_stored_base(module) for module in modules}
        if None in classes or len(classes) > 1:  # a part of a layer that reads its weights in its own way
            continue
        stored: BaseDtype = "bf16" if classes == {StoredEmbedding} else base_dtype
        parameter.requires_grad_(False)
        shape = parameter.shape
        # The same parameter, so that sets and groups of parameters still contain it.
        parameter.data, scales = encode(parameter.detach(), stored)
        for module in modules:
            module.__class__ = _stored_class(type(module))  # type: ignore[arg-type]
            assert isinstance(module, StoredWeight)
            module.stored_dtype, module.weight_shape = stored, shape
            if scales is not None:
                module.register_buffer(SCALES, scales)


def restore_base_weights(encoder: PreTrainedModel) -> None:
    """Decode all stored weights of an encoder to float32. They stay frozen."""
    decoded: set[nn.Parameter] = set()
    for module in stored_modules(encoder).values():
        parameter = module._parameters["weight"]
        assert parameter is not None
        if parameter not in decoded:
            parameter.data = module.weight
            decoded.add(parameter)
        module._buffers.pop(SCALES, None)
        module.__class__ = module.original_class  # type: ignore[assignment]


def stored_modules(model: nn.Module) -> dict[str, StoredWeight]:
    """Return the modules of a model with stored weights, by their names."""
    return {name: module for name, module in model.named_modules() if isinstance(module, StoredWeight)}


def saved_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict to save: int8 and int4 weights in float32, all other values as they are.

    bf16 values need no decoding, because Transformers converts them to float32, without a change, when it loads them.
    """
    state: dict[str, Tensor] = model.state_dict()
    for name, module in stored_modules(model).items():
        if state.pop(f"{name}.{SCALES}", None) is not None:
            state[f"{name}.weight"] = module.weight
    return state


def _modules_by_weight(encoder: nn.Module) -> dict[nn.Parameter, list[nn.Module]]:
    """Return the modules that have each matrix of an encoder as their parameter."""
    modules: dict[nn.Parameter, list[nn.Module]] = {}
    for module in encoder.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 2:
                modules.setdefault(parameter, []).append(module)
    return modules


def _stored_base(module: nn.Module) -> type[StoredWeight] | None:
    """Return the class that stores the weight of such a module; None if there is none."""
    # nn.MultiheadAttention reads the weight of its output layer without calling the layer.
    if isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear):
        return StoredLinear
    if isinstance(module, Conv1D):
        return StoredConv1D
    if isinstance(module, nn.Embedding) and module.max_norm is None:
        return StoredEmbedding
    return None


@functools.cache
def _stored_class(original: type[nn.Module]) -> type[nn.Module]:
    """Return the class with which a layer of a class stores its weight.

    A subclass keeps its own `forward`, as that of Gemma's embeddings, which scales the result of `super().forward`.
    """
    bases = {nn.Linear: StoredLinear, Conv1D: StoredConv1D, nn.Embedding: StoredEmbedding}
    if original in bases:
        return bases[original]
    base = next(stored for plain, stored in bases.items() if issubclass(original, plain))
    return type(f"Stored{original.__name__}", (original, base), {"original_class": original})
