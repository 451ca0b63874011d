"""Save a checkpoint every so many steps, and before the run ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from research.system.durable import StorageError
from research.system.waiting import WaitingMessage
from research.training.checkpoint.save import save_checkpoint
from research.training.hook import Hook
from research.training.run import TrainingRun

if TYPE_CHECKING:
    from research.training.api import Run

OnSaveError = Literal["stop", "continue"]


class Checkpointing(Hook):
    """Save a checkpoint every so many steps, after the last one, and when a signal ends the run.

    Args:
        every: steps between checkpoints; None saves only when a signal ends the run.
        keep: checkpoints that stay.
        on_save_error: what a checkpoint that cannot be written does.
    """

    def __init__(self, *, every: int | None, keep: int, on_save_error: OnSaveError) -> None:
        self.every = every
        self.keep = keep
        self.on_save_error = on_save_error

    def end_of_step(self, run: Run) -> None:
        """Save if it is time."""
        # After the last step too, so that what is left to do then can be cut and done again.
        due = self.every is not None and (run.clock.step % self.every == 0 or run.is_over)
        if not due and not run.signal:
            return
        try:
            with WaitingMessage("Saving a checkpoint"):
                assert isinstance(run, TrainingRun), "a checkpoint holds all parts of a run"
                save_checkpoint(run, self.keep)
        except StorageError as error:
            if self.on_save_error == "stop" or run.signal:
                raise
            run.print(f"{error} The run goes on without this checkpoint (--on_save_error continue).")
