"""Save checkpoints at regular intervals and when the run ends."""

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
    """Save a checkpoint every `every` steps, after the last step, and when a signal ends the run.

    Args:
        every: steps between checkpoints; None saves only when a signal ends the run.
        keep: number of newest checkpoints to keep.
        on_save_error: whether the run stops or continues if a checkpoint cannot be written.
    """

    def __init__(self, *, every: int | None, keep: int, on_save_error: OnSaveError) -> None:
        self.every = every
        self.keep = keep
        self.on_save_error = on_save_error

    def end_of_step(self, run: Run) -> None:
        """Save a checkpoint if one is due or a signal ends the run."""
        # Also due once training is over, so that an interruption of the final evaluations does not cost any training.
        due = self.every is not None and (run.clock.step % self.every == 0 or run.is_over)
        if not due and not run.signal:
            return
        try:
            with WaitingMessage("Saving a checkpoint"):
                assert isinstance(run, TrainingRun), "save_checkpoint saves all parts of a TrainingRun"
                save_checkpoint(run, self.keep)
        except StorageError as error:
            if self.on_save_error == "stop" or run.signal:  # after a signal, the run cannot continue
                raise
            run.print(f"{error} The run continues without this checkpoint (--on_save_error continue).")
