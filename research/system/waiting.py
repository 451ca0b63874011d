"""Messages while something takes long: silence of minutes looks like a hang, and what is quick needs no message.

Imports no torch, so that importing it can be announced too.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tqdm import tqdm

from research.system.terminal import print_message

FIRST_AFTER = 3.0
"""Seconds after which the first message comes."""
AGAIN_AFTER = 60.0
"""Seconds between further messages."""
Say = Callable[[str], None]


class Announced:
    """Reports what goes on inside, once it takes seconds, and again every minute.

    Args:
        what: such as "Reading reviews.csv".
        say: gets the messages, on a thread of its own; None if another process reports.
    """

    def __init__(self, what: str, say: Say | None) -> None:
        self._what = what
        self._say = say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)

    def __enter__(self) -> None:
        if self._say is not None:
            self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        if self._say is not None:
            self._thread.join()

    def _report(self) -> None:
        assert self._say is not None
        started = time.monotonic()
        wait = FIRST_AFTER
        while not self._ended.wait(wait):
            seconds = time.monotonic() - started
            self._say(f"{self._what} ..." if wait == FIRST_AFTER else f"{self._what}: {seconds / 60:.0f} min so far")
            wait = AGAIN_AFTER


class Counted:
    """A progress bar on a terminal, and lines elsewhere, for what is done in parts; neither if it is quick.

    Args:
        what: such as "evaluating validation".
        total: how many parts there are.
        unit: what a part is called.
        say: gets the lines; None if another process reports.
    """

    def __init__(self, what: str, total: int, unit: str, say: Say | None) -> None:
        self._what, self._total, self._unit, self._say = what, total, unit, say
        self._done = 0
        self._next = time.monotonic() + FIRST_AFTER
        # disable=None turns the bar off where the output is no terminal.
        self._bar: tqdm[Any] = tqdm(
            total=total,
            desc=what,
            unit=unit,
            delay=FIRST_AFTER,
            leave=False,
            disable=None if say is not None else True,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.close()

    def update(self, number: int) -> None:
        """Count further parts as done."""
        number = min(number, self._total - self._done)
        self._done += number
        self._bar.update(number)
        if self._bar.disable and self._say is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + AGAIN_AFTER
            self._say(f"{self._what}: {self._done:,} of {self._total:,} {self._unit}s")


def reporter() -> Say | None:
    """Return what reports before the processes of a run know each other, in the first one."""
    return print_message if os.environ.get("RANK", "0") == "0" else None
