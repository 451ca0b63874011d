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
class Processes:
    """An accelerator of the main process, with simulated decisions of the other processes."""

    num_processes: int
    num_others_skipping: int = 0
    exchanged: list[float] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Device of tensors."""
        return torch.device("cpu")

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        """Add the values of the other processes."""
        assert reduction == "sum"
        self.exchanged.append(float(value))
        return value + self.num_others_skipping


def agree(processes: Processes, hooks: list[Hook], *, skips: bool) -> list[float]:
    check_skip_agreement(cast("Accelerator", processes), hooks, skips=skips, step=7)
    return processes.exchanged


@pytest.mark.parametrize("skips", [True, False])
def test_check_skip_agreement_accepts_a_unanimous_decision(skips: bool) -> None:
    assert agree(Processes(3, 2 * skips), [Hook(), MaySkip()], skips=skips) == [skips]


@pytest.mark.parametrize(("skips", "num_others"), [(True, 0), (True, 1), (False, 1), (False, 2)])
def test_check_skip_agreement_refuses_disagreement(skips: bool, num_others: int) -> None:
    with pytest.raises(ValueError, match=rf"\b{skips + num_others} of 3 .*step 7\b"):
        agree(Processes(3, num_others), [MaySkip()], skips=skips)


def test_check_skip_agreement_exchanges_nothing_if_no_hook_can_skip() -> None:
    assert agree(Processes(1), [MaySkip()], skips=True) == []
    assert agree(Processes(2), [Hook()], skips=False) == []
