"""Signals, and requests of hooks, that interrupt a run on all processes after the current step."""

from __future__ import annotations

import signal
from pathlib import Path

from accelerate.utils import gather_object

from research.settings.run_files import MODEL
from research.settings.times import Clock
from research.system.signals import Interrupted, Paused, SignalWatch
from research.training.checkpoint.find import list_checkpoints


class Interruption:
    """Interrupts a run after a signal or a request.

    Args:
        is_main: whether this is the main process, which reports the signal.
        directory: the run directory.
    """

    def __init__(self, *, is_main: bool, directory: Path) -> None:
        self.is_main = is_main
        self.directory = directory
        self.watch = SignalWatch(reports=is_main)
        """Context manager that records signals."""
        self.signal = 0
        """Number of the signal that this process received; once the processes have agreed, of the signal that ends the
        run; 0 if there is none."""
        self._reason: str | None = None
        self._pauses = False

    def request(self, reason: str) -> None:
        """Request an interruption, which has the effect of SIGTERM."""
        self._reason = self._reason or reason

    def pause(self, reason: str) -> None:
        """Request an interruption that is no error: the exit status of the run is 0. Called on every process."""
        self._reason, self._pauses = reason, True

    def poll(self) -> None:
        """Check for a signal or a request in this process. The other processes learn of it at the next boundary."""
        self.signal = self.watch.received_signal() or (0 if self._reason is None else signal.SIGTERM)

    def poll_everywhere(self) -> None:
        """Check whether any process received a signal; called on every process."""
        self.signal = max(gather_object([self.watch.received_signal()]))

    def exit_if_agreed(self, clock: Clock) -> None:
        """End the run if the processes have agreed on a signal.

        Raises:
            Interrupted: on the main process; the other processes exit.
        """
        if not self.signal:
            return
        causes: list[tuple[str | None, int]] = gather_object([(self._reason, self.watch.received_signal())])
        if not self.is_main:
            raise SystemExit(0 if self._pauses else 128 + self.signal)
        reason = next((reason for reason, _ in causes if reason is not None), None)
        is_requested = reason is not None and not any(number for _, number in causes)
        cause = reason if is_requested else signal.Signals(self.signal).name
        message = f"{cause} ended the run after step {clock.step:,} of {clock.total_steps:,}"
        checkpoints = list_checkpoints(self.directory)
        if checkpoints:
            message += (
                f"; saved in {checkpoints[-1]}. To continue, repeat the run with --output_dir {self.directory} and "
                "--resume auto."
            )
        else:  # while the loop takes steps, a signal always leaves a checkpoint
            model = self.directory / MODEL
            message += (
                " and before its last evaluations were finished. There is no checkpoint to resume from, because "
                f"--save_every is not set{f'; the trained model is in {model}' if model.exists() else ''}."
            )
        if self._pauses:
            raise Paused(message, self.watch.received_signal())
        raise Interrupted(self.signal, message, is_requested=is_requested)
