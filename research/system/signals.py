"""Stop a run cleanly: between steps, check for signals, and whether the launcher or the study's worker has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

from research.system.launcher import find_launcher
from research.system.processes import SUPERVISOR_VARIABLE, is_alive

HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
REPEAT_SECONDS = 1.0
"""Seconds after a signal within which the launcher may forward the same signal again."""


class Interrupted(KeyboardInterrupt):
    """A signal, or a request of a hook, ended the run after a step.

    Args:
        number: number of the signal.
        message: message for the user.
        is_requested: whether a hook requested this, and no signal was received.
    """

    def __init__(self, number: int, message: str, *, is_requested: bool = False) -> None:
        super().__init__(message)
        self.is_requested = is_requested
        self.exit_code = 128 + number
        """Exit status with which a shell reports the signal: 143 for SIGTERM, 130 for SIGINT, 138 for SIGUSR1, 129 for
        SIGHUP."""


class Paused(Interrupted):
    """A run ended after a step because its settings ask for it.

    Args:
        message: message for the user.
        received_signal: number of the signal that arrived during the step; 0 if there was none.
    """

    def __init__(self, message: str, received_signal: int = 0) -> None:
        super().__init__(received_signal, message)
        self.exit_code = 0
        self.received_signal = received_signal


class SignalWatch:
    """Catches signals while a run trains; a second signal, except SIGHUP or SIGUSR1, ends the process immediately.

    Args:
        reports: whether this process prints a message for the first signal.
    """

    def __init__(self, *, reports: bool) -> None:
        self._reports = reports
        self._received = 0
        self._received_at = 0.0
        self._previous_handlers: dict[signal.Signals, Any] = {}
        # A shell is not a launcher: it often exits while its program keeps running.
        self._launcher = find_launcher()
        # Id of the study's process that started this one; 0 outside studies.
        self._supervisor = int(os.environ.get(SUPERVISOR_VARIABLE, "0"))
        # torchrun forwards each signal to its processes, which may have received the signal already: Slurm's scancel
        # signals torchrun and all of its processes.
        self._launcher_repeats_signals = "TORCHELASTIC_RUN_ID" in os.environ

    def __enter__(self) -> SignalWatch:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers only in the main thread
            # Leave SIGHUP ignored if nohup ignores it, so that the run continues.
            handled = [
                number
                for number in HANDLED_SIGNALS
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
            ]
            self._previous_handlers = {number: signal.signal(number, self._handle_signal) for number in handled}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def received_signal(self) -> int:
        """Return the number of the received signal, or 0.

        The end of the launcher, or of the study's worker, counts as SIGTERM.

        If `accelerate launch` started only one process, it forwards no signals: a signal to it kills the launcher only.
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
        if self._received_at and self._launcher_repeats_signals and now - self._received_at < REPEAT_SECONDS:
            return
        # When a terminal closes, its shell sends SIGHUP again. Slurm sends SIGUSR1 as a warning, possibly after the
        # SIGTERM of a preemption.
        if self._received_at and number in (signal.SIGHUP, signal.SIGUSR1):
            return
        if self._received_at:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._received, self._received_at = number, now
        if number == signal.SIGHUP:
            discard_lost_output()
        if self._reports:
            message = (
                f"\n{signal.Signals(number).name}: finishing this step, then saving; a second signal stops at once.\n"
            )
            with contextlib.suppress(OSError):  # the terminal may be closed
                os.write(2, message.encode())  # print is not reentrant


def discard_lost_output(descriptors: Sequence[int] = (1, 2)) -> None:
    """Discard further output to a closed terminal, because an error in print would end the run before it is saved.

    Args:
        descriptors: descriptors of the output; only descriptors that are no longer writable are changed.
    """
    for descriptor in descriptors:
        try:
            os.write(descriptor, b"")
        except OSError:
            null_device = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null_device, descriptor)
            os.close(null_device)
