"""Save a checkpoint every so many steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from research.checkpoint import save_checkpoint
from research.hooks.base import Hook

if TYPE_CHECKING:
    from research.run import Run


class Checkpointing(Hook):
    """Save a checkpoint every so many steps, and keep the newest.

    Args:
        every: steps between checkpoints.
        keep: checkpoints that stay.
    """

    def __init__(self, *, every: int, keep: int) -> None:
        self.every = every
        self.keep = keep

    def end_of_step(self, run: Run) -> None:
        """Save if it is time."""
        if run.clock.step % self.every == 0:
            save_checkpoint(run, self.keep)
