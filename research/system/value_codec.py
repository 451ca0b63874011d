"""Store plain values and tensors as JSON and safetensors, which cannot contain code, instead of a pickle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """A value that is already encoded, as a part of another value."""

    json: Any
    """The result of `encode`."""


def encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON, in which each tensor is replaced by its name.

    Args:
        value: None, a bool, number, string, tensor, data type or `Encoded`; or a list, tuple, set or dict of these.
            Subclasses of tuple and dict are stored as tuples and dicts.
        name: beginning of the names of the value's tensors.
        tensors: receives the tensors.
    Raises:
        TypeError: if the value is or contains anything else; names its place and type.
    """
    encoded: Any
    if value is None or type(value) in (bool, int, float, str):
        encoded = value
    elif isinstance(value, Encoded):
        encoded = value.json
    elif type(value) is list:
        encoded = [encode(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
    elif isinstance(value, Tensor):
        tensors[name] = value
        encoded = {"tensor": name}
    elif isinstance(value, torch.dtype):
        encoded = {"dtype": str(value).removeprefix("torch.")}
    elif isinstance(value, tuple):
        encoded = {"tuple": encode([*value], name, tensors)}
    elif type(value) is set:
        encoded = {"set": encode(sorted(value, key=repr), name, tensors)}
    elif isinstance(value, dict):
        pairs = [
            (encode(key, f"{name}/key", tensors), encode(each, f"{name}/{key}", tensors)) for key, each in value.items()
        ]
        encoded = {"dict": pairs}
    else:
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}")
    return encoded


def decode(encoded: Any, read: Callable[[str], Tensor]) -> Any:
    """Return the value that `encode` stored.

    Args:
        encoded: the result of `encode`.
        read: returns a tensor by its name.
    Raises:
        ValueError: if `encode` cannot have returned such a value.
    """
    decoded: Any
    match encoded:
        case None | bool() | int() | float() | str():
            decoded = encoded
        case list(items):
            decoded = [decode(item, read) for item in items]
        case {"tensor": str(name)}:
            decoded = read(name)
        case {"dtype": str(name)} if isinstance(getattr(torch, name, None), torch.dtype):
            decoded = getattr(torch, name)
        case {"tuple": list(items)}:
            decoded = tuple(decode(items, read))
        case {"set": list(items)}:
            decoded = set(decode(items, read))
        case {"dict": list(pairs)} if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            decoded = {decode(key, read): decode(item, read) for key, item in pairs}
        case _:
            raise ValueError(f"expected a stored value, found {str(encoded)[:200]}")
    return decoded
