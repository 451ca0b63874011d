"""Parameters and buffers of a model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from research.model.encoder_with_head import EncoderWithHead


def saved_buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the names and values of a module's buffers that are saved with it."""
    saved = module.state_dict(keep_vars=True)
    return [(name, tensor) for name, tensor in saved.items() if not isinstance(tensor, nn.Parameter)]


def trainable_parameters(model: nn.Module) -> tuple[nn.Parameter, ...]:
    """Return the trainable parameters, in the model's order."""
    return tuple(parameter for parameter in model.parameters() if parameter.requires_grad)


def replace_parameters(model: nn.Module, replacement: Callable[[nn.Parameter], nn.Parameter]) -> None:
    """Replace every parameter of a model. A parameter of several modules is replaced by the same one in all of them.

    Args:
        model: the model.
        replacement: returns the new parameter for each one; called once for each.
    """
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in replaced:
                replaced[parameter] = replacement(parameter)
            setattr(module, name, replaced[parameter])


def count_parameters(model: EncoderWithHead) -> tuple[int, int]:
    """Return the number of trainable parameters and the number of all parameters."""
    sizes = [(_count_values(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, is_trainable in sizes if is_trainable), sum(size for size, _ in sizes)


def _count_values(parameter: nn.Parameter) -> int:
    # --base_dtype int4 stores two values in each byte.
    return parameter.numel() * (2 if parameter.dtype == torch.uint8 else 1)
