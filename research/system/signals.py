"""Stop in good order: signals, and the end of the launcher, are noticed between two steps."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

from research.system.launcher import PARENT, was_launched
from research.system.processes import SUPERVISOR, is_alive

HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
ECHO_SECONDS = 1.0
"""How long after a signal the launcher may pass the same one on, once more."""


class Interrupted(KeyboardInterrupt):
    """A run that a signal ended, after a step.

    Args:
        number: the signal's.
        message: what is to be said of it.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + number
        """As a shell says that a signal ended a program: 143 for SIGTERM, 130 for SIGINT, 138 for SIGUSR1,
        129 for SIGHUP."""


class SignalWatch:
    """Hears signals while a run trains; the second one stops at once.

    Args:
        speaks: whether this process tells the user that the first was heard.
    """

    def __init__(self, *, speaks: bool) -> None:
        self._speaks = speaks
        self._received = 0
        self._received_at = 0.0
        self._before: dict[signal.Signals, Any] = {}
        # A shell that ends while its program runs on is everyday business, and no launcher.
        self._launcher = PARENT if was_launched() else None
        self._supervisor = int(os.environ.get(SUPERVISOR, "0"))
        # torchrun passes on what its workers have heard already: Slurm's scancel reaches all of them.
        self._has_echo = "TORCHELASTIC_RUN_ID" in os.environ

    def __enter__(self) -> SignalWatch:
        if threading.current_thread() is threading.main_thread():  # Python lets no other one listen
            # Under nohup SIGHUP is ignored, and the run is meant to go on.
            heard = [
                number
                for number in HANDLED_SIGNALS
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
            ]
            self._before = {number: signal.signal(number, self._handle_signal) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def received(self) -> int:
        """Return the number of the signal that was heard, or 0; a launcher that is gone counts as SIGTERM.

        `accelerate launch` with one process dies of a signal without passing it on.
        """
        if not self._received and self._is_abandoned():
            self._received = signal.SIGTERM
        return self._received

    def _is_abandoned(self) -> bool:
        if self._launcher not in (None, os.getppid()):
            return True
        return bool(self._supervisor) and not is_alive(self._supervisor)

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._received_at and self._has_echo and now - self._received_at < ECHO_SECONDS:
            return
        if self._received_at and number == signal.SIGHUP:  # a closed terminal's shell sends it once more
            return
        if self._received_at:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._received, self._received_at = number, now
        if number == signal.SIGHUP:
            discard_lost_output()
        if self._speaks:
            message = (
                f"\n{signal.Signals(number).name}: finishing this step, then saving; a second one stops at once.\n"
            )
            with contextlib.suppress(OSError):  # the terminal may be what went away
                os.write(2, message.encode())  # print could interrupt a print


def discard_lost_output(descriptors: Sequence[int] = (1, 2)) -> None:
    """Send output to a closed terminal nowhere: an error in the next print would end the run before it is saved.

    Args:
        descriptors: of the output; those that can still be written to stay.
    """
    for descriptor in descriptors:
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
