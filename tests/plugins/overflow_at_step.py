"""A plugin for the tests: a hook that makes the gradient of one step infinite, as too large a loss scale does."""

from __future__ import annotations

import torch

from research.data.batches.batch import Batch
from research.training.api import Run
from research.training.hook import Hook, register_hook


@register_hook("overflow_at_step")
class OverflowAtStep(Hook):
    """Make the gradient of one step infinite.

    Args:
        step: the step, from 1.
    """

    def __init__(self, *, step: int = 2) -> None:
        self.step = step

    def after_backward(self, run: Run, batch: Batch) -> None:
        """In the given step, make all gradients infinite."""
        if run.clock.step + 1 == self.step:
            for parameter in run.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(torch.inf)
