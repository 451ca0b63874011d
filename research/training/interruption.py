"""Signals that end a run: after the step that they came in, on all processes."""

from __future__ import annotations

import signal
from pathlib import Path

from accelerate.utils import gather_object

from research.settings.times import Clock
from research.system.signals import Interrupted, SignalWatch
from research.training.checkpoint.find import list_checkpoints


class Interruption:
    """What asks a run to end.

    Args:
        is_main: whether this process speaks for all.
        directory: the run directory.
    """

    def __init__(self, *, is_main: bool, directory: Path) -> None:
        self.is_main = is_main
        self.directory = directory
        self.watch = SignalWatch(reports=is_main)
        """Hears signals while it is entered."""
        self.signal = 0
        """The signal that this process has received; once agreed on, the one that ends the run; 0 for none."""

    def poll(self) -> None:
        """Learn whether something asks this process to end; at the next boundary all of them know."""
        self.signal = self.watch.received()

    def poll_everywhere(self) -> None:
        """Learn whether something asks any of the processes to end; called by all of them."""
        self.signal = max(gather_object([self.watch.received()]))

    def leave_if_agreed(self, clock: Clock) -> None:
        """End the run if a signal was agreed on.

        Raises:
            Interrupted: on the main process; the rest exit.
        """
        if not self.signal:
            return
        if not self.is_main:
            raise SystemExit(128 + self.signal)
        checkpoints = list_checkpoints(self.directory)
        saved = f"saved in {checkpoints[-1]}" if checkpoints else "nothing is saved"
        name = signal.Signals(self.signal).name
        raise Interrupted(
            self.signal,
            f"{name} ended the run after step {clock.step:,} of {clock.total_steps:,}; {saved}. Go on with the same "
            f"command, --output_dir {self.directory} and --resume auto.",
        )
