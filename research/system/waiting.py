"""Progress messages for slow operations: minutes of silence look like a hang, and a fast operation needs no message.

This module does not import torch, so that importing torch can itself be announced.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

from research.system.messages import logger
from research.system.progress_bar import open_bar

FIRST_MESSAGE_AFTER = 3.0
"""Seconds before the first message."""
NEXT_MESSAGE_AFTER = 60.0
"""Seconds between later messages."""


class WaitingMessage:
    """Reports a running operation after a few seconds, and then every minute.

    Args:
        description: the operation, such as "Reading reviews.csv".
    """

    def __init__(self, description: str) -> None:
        self._description = description
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _report(self) -> None:
        started = time.monotonic()
        wait = FIRST_MESSAGE_AFTER
        while not self._ended.wait(wait):
            seconds = time.monotonic() - started
            logger.info(
                f"{self._description} ..."
                if wait == FIRST_MESSAGE_AFTER
                else f"{self._description}: {seconds / 60:.0f} min so far"
            )
            wait = NEXT_MESSAGE_AFTER


class WaitingProgress:
    """Reports the progress of an operation: as a progress bar on a terminal, as lines elsewhere; silent if it is fast.

    Args:
        description: the operation, such as "evaluating validation".
        total: number of parts.
        unit: name of a part.
    """

    def __init__(self, description: str, total: int, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = 0
        self._started = time.monotonic()
        self._next_message_at = time.monotonic() + FIRST_MESSAGE_AFTER
        self._bar = open_bar(total=total, desc=description, unit=unit, delay=FIRST_MESSAGE_AFTER, leave=False)

    def __enter__(self) -> WaitingProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.close()

    def update(self, number: int) -> None:
        """Count `number` more parts as done."""
        number = min(number, self._total - self._done)
        self._done += number
        self._bar.update(number)
        if self._bar.disable and time.monotonic() >= self._next_message_at:
            self._next_message_at = time.monotonic() + NEXT_MESSAGE_AFTER
            logger.info(
                f"{self._description}: {self._done:,} of {self._total:,} {self._unit}s ({self._describe_speed()})"
            )

    def _describe_speed(self) -> str:
        """Return the number of parts per second, and the time left at this speed."""
        rate = max(self._done, 1) / max(time.monotonic() - self._started, 1e-9)
        seconds = (self._total - self._done) / rate
        left = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
        return f"{format_rate(rate)} {self._unit}s/s, {left} left"


def format_rate(rate: float) -> str:
    """Format a number of parts per second with at least two digits."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
