"""Messages while something takes long: silence of minutes looks like a hang, and what is quick needs no message.

Imports no torch, so that importing it can be announced too.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

from research.system.messages import is_main_process, logger

FIRST_AFTER = 3.0
"""Seconds after which the first message comes."""
AGAIN_AFTER = 60.0
"""Seconds between further messages."""


class WaitingMessage:
    """Reports what goes on inside, once it takes seconds, and again every minute.

    Args:
        what: such as "Reading reviews.csv".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _report(self) -> None:
        started = time.monotonic()
        wait = FIRST_AFTER
        while not self._ended.wait(wait):
            seconds = time.monotonic() - started
            logger.info(f"{self._what} ..." if wait == FIRST_AFTER else f"{self._what}: {seconds / 60:.0f} min so far")
            wait = AGAIN_AFTER


class WaitingProgress:
    """A progress bar on a terminal, and lines elsewhere, for what is done in parts; neither if it is quick.

    Args:
        what: such as "evaluating validation".
        total: how many parts there are.
        unit: what a part is called.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._next = time.monotonic() + FIRST_AFTER
        # disable=None turns the bar off where the output is no terminal.
        self._bar: tqdm[Any] = tqdm(
            total=total,
            desc=what,
            unit=unit,
            delay=FIRST_AFTER,
            leave=False,
            disable=None if is_main_process() else True,
            dynamic_ncols=True,
        )

    def __enter__(self) -> WaitingProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.close()

    def update(self, number: int) -> None:
        """Count further parts as done."""
        number = min(number, self._total - self._done)
        self._done += number
        self._bar.update(number)
        if self._bar.disable and time.monotonic() >= self._next:
            self._next = time.monotonic() + AGAIN_AFTER
            logger.info(f"{self._what}: {self._done:,} of {self._total:,} {self._unit}s")
