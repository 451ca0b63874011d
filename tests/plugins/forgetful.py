"""A plugin for the tests: a hook that does not restore its state on resume."""

from __future__ import annotations

from typing import Any

import torch

from research.training.api import Run
from research.training.hook import Hook, register_hook


@register_hook("forgetful")
class Forgetful(Hook):
    """Change the head's weights after every step, in proportion to the number of steps.

    The number is saved in checkpoints, but not restored, because `load_state_dict` is not overridden. So a resumed run
    changes the weights differently from a run without interruption.

    Args:
        changes_weights: whether to change the weights; if not, the steps are only counted.
    """

    def __init__(self, *, changes_weights: bool = True) -> None:
        self.changes_weights = changes_weights
        self.count = 0

    def after_step(self, run: Run) -> None:
        """Increase the count, and change the weights."""
        self.count += 1
        if self.changes_weights:
            with torch.no_grad():
                for parameter in run.encoder_with_head.head.parameters():
                    parameter.add_(1e-3 * self.count)

    def state_dict(self) -> dict[str, Any]:
        """Return the count."""
        return {"count": self.count}
