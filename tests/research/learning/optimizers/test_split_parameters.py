"""Optimizers that update parts of parameters, or gather them, take the steps of the optimizer itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from research.learning.optimizers.base import ParameterGroups
from research.learning.optimizers.split_parameters import SplitOptimizer, StepsOnParts, StepsOnWholeParameters

Create = Callable[[ParameterGroups], torch.optim.Optimizer]


def make_groups() -> ParameterGroups:
    torch.manual_seed(0)
    return [
        {"params": [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(()))], "lr": 0.1, "block": "a"},
        {"params": [nn.Parameter(torch.randn(5))], "lr": 0.01, "block": "b"},
    ]


@pytest.mark.parametrize("kind", [StepsOnParts, StepsOnWholeParameters])
@pytest.mark.parametrize("create", [torch.optim.AdamW, torch.optim.Adafactor, torch.optim.SGD])
def test_steps_equal_those_of_the_optimizer_itself(kind: type[SplitOptimizer], create: Create) -> None:
    expected_groups, groups = make_groups(), make_groups()
    expected, inner = create(expected_groups), create(groups)
    optimizer = kind(inner.param_groups, inner)
    for step in range(4):
        for each in (expected, optimizer):
            torch.manual_seed(step)
            for group in each.param_groups:
                group["lr"] *= 0.9
                for parameter in group["params"]:
                    # The parameter of the second group does not train in the first two steps.
                    trains = group["block"] == "a" or step >= 2
                    parameter.grad = torch.randn(parameter.shape) if trains else None
            each.step()
    for first, second in zip(expected.param_groups, optimizer.param_groups, strict=True):
        for one, two in zip(first["params"], second["params"], strict=True):
            assert torch.equal(one, two)
            assert expected.state[one].keys() == optimizer.state[two].keys()
            for key, value in expected.state[one].items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(optimizer.state[two][key])), key


def test_methods_of_the_inner_optimizer_are_called_for_the_parts() -> None:
    class Counts(torch.optim.SGD):
        def halve(self) -> None:
            for group in self.param_groups:
                group["halved"] = True
                for parameter in group["params"]:
                    parameter.data.mul_(0.5)

    groups = make_groups()
    before = [parameter.detach().clone() for group in groups for parameter in group["params"]]
    inner = Counts(groups)
    optimizer = StepsOnParts(inner.param_groups, inner)
    optimizer.halve()
    after = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert all(torch.equal(one * 0.5, two) for one, two in zip(before, after, strict=True))
    assert all(group["halved"] for group in optimizer.param_groups)
    with pytest.raises(AttributeError):
        optimizer.unknown()
