"""Save checkpoints at regular intervals and when the run ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from research.system.durable import StorageError
from research.system.errors import one_line
from research.system.waiting import WaitingMessage
from research.training.checkpoint.background import BackgroundSaver
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
        in_background: whether to write checkpoints while training continues. Only the last one is waited for.
        pause_at: step after which the run is paused; None if it is not.
    """

    def __init__(
        self,
        *,
        every: int | None,
        keep: int,
        on_save_error: OnSaveError,
        in_background: bool = False,
        pause_at: int | None = None,
    ) -> None:
        self.every = every
        self.keep = keep
        self.on_save_error = on_save_error
        self.in_background = in_background
        self.pause_at = pause_at
        self._saver: BackgroundSaver | None = None

    def on_train_start(self, run: Run) -> None:
        """Connect the processes for saving in the background."""
        if self.in_background:
            self._saver = BackgroundSaver(_as_training_run(run))

    def on_resume(self, run: Run) -> None:
        """Connect the processes for saving in the background."""
        self.on_train_start(run)

    def after_step(self, run: Run) -> None:
        """Pause the run if it is time."""
        if run.clock.step == self.pause_at and run.clock.step < run.clock.total_steps:
            _as_training_run(run).interruption.pause("--pause_at")

    def end_of_step(self, run: Run) -> None:
        """Save a checkpoint if one is due or a signal ends the run."""
        # Also due once training is over, so that an interruption of the final evaluations does not cost any training.
        due = self.every is not None and (run.clock.step % self.every == 0 or run.is_over)
        if not due and not run.signal:
            return
        training_run, saver = _as_training_run(run), self._saver
        if saver is None:
            self._try(run, lambda: save_checkpoint(training_run, self.keep))
            return
        self._try(run, saver.wait)
        self._try(run, lambda: saver.start(training_run, self.keep))
        if run.is_over or run.signal:
            self._try(run, saver.wait)

    def on_train_end(self, run: Run) -> None:
        """Wait for a checkpoint that is still being written, if training was stopped at the end of an epoch."""
        if self._saver is not None:
            self._try(run, self._saver.wait)
            self._saver.close()

    def on_exception(self, run: Run, error: BaseException) -> None:
        """Wait for a checkpoint that is still being written."""
        if self._saver is None:
            return
        try:
            with WaitingMessage("Saving a checkpoint"):
                self._saver.wait()
        except Exception as failure:  # of any kind, for example if another process has died
            run.print(f"The checkpoint that was being written is incomplete and will not be used: {one_line(failure)}")
        finally:
            self._saver.close()

    def _try(self, run: Run, save: Callable[[], object]) -> None:
        """Save a checkpoint, or wait for one; if it cannot be written, stop or continue the run."""
        try:
            with WaitingMessage("Saving a checkpoint"):
                save()
        except StorageError as error:
            if self.on_save_error == "stop" or run.signal:  # after a signal, the run cannot continue
                raise
            run.print(f"{error} The run continues without this checkpoint (--on_save_error continue).")


def _as_training_run(run: Run) -> TrainingRun:
    assert isinstance(run, TrainingRun), "checkpoints contain all parts of a TrainingRun"
    return run
