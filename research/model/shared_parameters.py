"""Parameters that a module contains under several names."""

from __future__ import annotations

from torch import nn


def shared_parameters(module: nn.Module, prefix: str) -> dict[str, str]:
    """Map each additional name of a parameter with several names to the parameter's first name."""
    first_names: dict[nn.Parameter, str] = {}
    named = list(module.named_parameters(prefix, remove_duplicate=False))
    for name, parameter in named:
        first_names.setdefault(parameter, name)
    return {name: first_names[parameter] for name, parameter in named if first_names[parameter] != name}
