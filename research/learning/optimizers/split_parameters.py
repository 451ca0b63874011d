"""Steps of an optimizer if each process holds only a part of each parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from research.learning.optimizers.base import ParameterGroups
from research.system.sharded_tensors import copy_part, cut_part, distribute, gather, is_sharded, local_part


class SplitOptimizer(torch.optim.Optimizer):
    """An optimizer whose parameters may be split over processes, and which uses another one for whole tensors.

    Args:
        groups: the parameter groups of the optimizer.
        inner: the other optimizer, created with these groups.
    """

    def __init__(self, groups: ParameterGroups, inner: torch.optim.Optimizer) -> None:
        super().__init__(groups, {})
        self.inner = inner

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes to copy; torch's own method omits all but its own."""
        return {**super().__getstate__(), "inner": self.inner}

    def _run(self, groups: ParameterGroups, state: Mapping[Tensor, dict[str, Any]], method: str) -> Any:
        """Call a method of the inner optimizer for other parameters."""
        self.inner.param_groups = groups
        self.inner.state = defaultdict(dict)
        self.inner.state.update(state)
        return getattr(self.inner, method)()


class StepsOnParts(SplitOptimizer):
    """Each process updates its parts of the parameters, with an optimizer that treats every number on its own."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update this process's part of every parameter that has a gradient."""
        assert closure is None, "the training loop passes no closure"
        self._call("step")
        return None

    def __getattr__(self, name: str) -> Callable[[], Any]:
        """Return a method that only the inner optimizer has, such as `eval`; it is called for the parts."""
        if name.startswith("_") or "inner" not in vars(self) or not callable(getattr(self.inner, name, None)):
            raise AttributeError(name)
        return lambda: self._call(name)

    def _call(self, method: str) -> Any:
        parts: dict[Tensor, nn.Parameter] = {
            parameter: _part_of(parameter) for group in self.param_groups for parameter in group["params"]
        }
        state: dict[Tensor, dict[str, Any]] = {
            parts[parameter]: {key: local_part(value) if _is_tensor(value) else value for key, value in values.items()}
            for parameter, values in self.state.items()
        }
        groups = [{**group, "params": [parts[each] for each in group["params"]]} for group in self.param_groups]
        result = self._run(groups, state, method)
        for group, changed in zip(self.param_groups, groups, strict=True):
            group.update({key: value for key, value in changed.items() if key != "params"})
        for parameter, part in parts.items():
            if part in self.inner.state:
                self.state[parameter] = {
                    key: distribute(value, parameter) if _is_tensor(value) and value.shape == part.shape else value
                    for key, value in self.inner.state[part].items()
                }
        return result


class StepsOnWholeParameters(SplitOptimizer):
    """Gathers one parameter at a time with its gradient and state, lets the optimizer update it, and keeps the parts.

    Every process computes the same update, so the result is that of a single process. A state tensor of the
    parameter's shape is split like the parameter; every process keeps all others.
    """

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
        self._run([{**group, "params": [whole]}], {whole: state} if state else {}, "step")
        copy_part(whole, parameter)
        self.state[parameter] = {
            key: distribute(cut_part(value, parameter), parameter)
            if _is_tensor(value) and value.shape == parameter.shape
            else value
            for key, value in self.inner.state[whole].items()
        }


def _part_of(parameter: nn.Parameter) -> nn.Parameter:
    """Return this process's part of a parameter and its gradient, in the same memory."""
    if not is_sharded(parameter):
        return parameter
    part = nn.Parameter(local_part(parameter), requires_grad=parameter.requires_grad)
    part.grad = None if parameter.grad is None else local_part(parameter.grad)
    return part


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)
