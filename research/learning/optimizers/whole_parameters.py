"""Steps of an optimizer on whole parameters, if each process holds only a part of each parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from research.learning.optimizers.base import ParameterGroups
from research.system.sharded_tensors import copy_part, cut_part, distribute, gather


class StepsOnWholeParameters(torch.optim.Optimizer):
    """Gathers one parameter at a time with its gradient and state, lets an optimizer update it, and keeps the parts.

    Every process computes the same update, so the result is that of a single process. A state tensor of the
    parameter's shape is split like the parameter; every process keeps all others.

    Args:
        groups: the parameter groups of the optimizer.
        inner: the optimizer, created with these groups.
    """

    def __init__(self, groups: ParameterGroups, inner: torch.optim.Optimizer) -> None:
        super().__init__(groups, {})
        self.inner = inner

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes to copy; torch's own method omits all but its own."""
        return {**super().__getstate__(), "inner": self.inner}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; called on every process."""
        assert closure is None, "the training loop passes no closure"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return None

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        whole = nn.Parameter(gather(parameter).clone())
        assert parameter.grad is not None
        whole.grad = gather(parameter.grad)
        state = {key: gather(value) if _is_tensor(value) else value for key, value in self.state[parameter].items()}
        self.inner.param_groups = [{**group, "params": [whole]}]
        self.inner.state = defaultdict(dict, {whole: state} if state else {})
        self.inner.step()
        copy_part(whole, parameter)
        self.state[parameter] = {
            key: distribute(cut_part(value, parameter), parameter)
            if _is_tensor(value) and value.shape == parameter.shape
            else value
            for key, value in self.inner.state[whole].items()
        }


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)
