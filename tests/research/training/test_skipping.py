"""A step is skipped on all processes or on none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from research import Hook
from research.training.api import Run
from research.training.skipping import check_skip_agreement


class MaySkip(Hook):
    """A hook that could skip a step."""

    def before_step(self, run: Run) -> None:
        """Skip nothing."""


@dataclass
class FakeAccelerator:
    """Stands in for this process's accelerator; the decisions of the other processes are simulated."""

    num_processes: int
    num_others_skipping: int = 0
    """How many of the other processes request to skip the step."""
    exchanged: list[float] = field(default_factory=list)
    """Values that this process sent to the other processes."""

    @property
    def device(self) -> torch.device:
        """Device of tensors."""
        return torch.device("cpu")

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        """Add the values of the other processes."""
        assert reduction == "sum"
        self.exchanged.append(float(value))
        return value + self.num_others_skipping


def check_and_return_exchanged(accelerator: FakeAccelerator, hooks: list[Hook], *, skips: bool) -> list[float]:
    check_skip_agreement(cast("Accelerator", accelerator), hooks, skips=skips, step=7)
    return accelerator.exchanged


@pytest.mark.parametrize("skips", [True, False])
def test_check_skip_agreement_accepts_a_unanimous_decision(skips: bool) -> None:
    accelerator = FakeAccelerator(num_processes=3, num_others_skipping=2 if skips else 0)
    assert check_and_return_exchanged(accelerator, [Hook(), MaySkip()], skips=skips) == [skips]


@pytest.mark.parametrize(("skips", "num_others_skipping"), [(True, 0), (True, 1), (False, 1), (False, 2)])
def test_check_skip_agreement_refuses_disagreement(skips: bool, num_others_skipping: int) -> None:
    accelerator = FakeAccelerator(num_processes=3, num_others_skipping=num_others_skipping)
    with pytest.raises(ValueError, match=rf"\b{skips + num_others_skipping} of 3 .*step 7\b"):
        check_and_return_exchanged(accelerator, [MaySkip()], skips=skips)


def test_check_skip_agreement_exchanges_nothing_with_one_process_or_if_no_hook_can_skip() -> None:
    assert check_and_return_exchanged(FakeAccelerator(1), [MaySkip()], skips=True) == []
    assert check_and_return_exchanged(FakeAccelerator(2), [Hook()], skips=False) == []
