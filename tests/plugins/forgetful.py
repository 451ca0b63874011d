"""A plugin for the tests: a hook that does not restore its state on resume."""

from __future__ import annotations

from typing import Any

import torch

from research.training.api import Run
from research.training.hook import Hook, register_hook


@register_hook("forgetful")
class Forgetful(Hook):
    """Change the head's weights slightly in every step, by a count of steps that is saved but never loaded.

    Args:
        moves: whether to change the weights at all.
    """

    def __init__(self, *, moves: bool = True) -> None:
        self.moves = moves
        self.count = 0

    def after_step(self, run: Run) -> None:
        """Increase the count, and change the weights."""
        self.count += 1
        if self.moves:
            with torch.no_grad():
                for parameter in run.encoder_with_head.head.parameters():
                    parameter.add_(1e-3 * self.count)

    def state_dict(self) -> dict[str, Any]:
        """Return the count."""
        return {"count": self.count}
