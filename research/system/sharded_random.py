"""Random numbers for tensors that are split over processes.

Without this module, processes that draw with the same seed would give different parts of a tensor the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from research.system.sharded_tensors import copy_part, cut_part, distribute, gather, is_sharded

_num_contexts = 0
"""Number of active contexts in which all processes draw the same random numbers."""


class DifferentNumbersError(ValueError):
    """Each process would draw different random numbers for its part of a tensor."""


@contextlib.contextmanager
def drawing_the_same() -> Iterator[None]:
    """Return a context in which the generators of all processes are in the same state."""
    global _num_contexts  # noqa: PLW0603 (the handlers of operators have no other access to the context)
    _num_contexts += 1
    try:
        yield
    finally:
        _num_contexts -= 1


def draw_for_whole_tensors() -> None:
    """Make PyTorch draw random numbers for whole tensors, of which each process keeps its part.

    Afterwards, `torch.randn_like(split)` gives the same numbers as for a whole tensor, in a context of
    `drawing_the_same`, and an error otherwise.
    """
    # Private, but the versions of PyTorch with which splitting works are fixed: see wrapping/fully_sharded.py.
    from torch.distributed.tensor import DTensor

    handlers: dict[Any, Callable[..., Any]] = DTensor._op_dispatcher._custom_op_handlers
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads() if isinstance(packet, torch._ops.OpOverloadPacket) else ():
            operator = getattr(packet, overload)
            takes_tensor = any(isinstance(argument.type, torch.TensorType) for argument in operator._schema.arguments)
            if torch.Tag.nondeterministic_seeded in operator.tags and takes_tensor and "out" not in overload:
                handlers[operator] = _draw


def _draw(operator: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call an operator that draws random numbers with whole tensors, and return its result split like its input."""
    if _num_contexts == 0:
        raise DifferentNumbersError(
            f"Each process would draw different random numbers ({operator}) for its part of a parameter, gradient or "
            "optimizer state. Draw them within `with run.shared_random_numbers():`."
        )
    like = next(value for value in (*arguments, *named.values()) if isinstance(value, Tensor) and is_sharded(value))

    def as_whole(value: Any) -> Any:
        return gather(value).clone() if isinstance(value, Tensor) and is_sharded(value) else value

    def as_part(value: Any) -> Any:
        if isinstance(value, Tensor) and value.shape == like.shape:
            return distribute(cut_part(value, like), like)
        return value

    result = operator(*map(as_whole, arguments), **{name: as_whole(value) for name, value in named.items()})
    if operator._schema.is_mutable:  # the first argument is changed in place
        copy_part(result, arguments[0])
        return arguments[0]
    return tree_map(as_part, result)
