"""Wait for a database that does not answer: a restart of its server must not end a study."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from research.system.errors import one_line
from research.system.messages import logger

RETRY_SECONDS = 600.0
"""How long a call is tried again."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds between two attempts; each wait is twice the one before."""
SLICE_SECONDS = 0.25
"""How often a wait looks whether to give up."""
Returned = TypeVar("Returned")


class RetryPolicy:
    """Tries calls to a storage again while it cannot be reached.

    Args:
        storage: its name in messages.
        gives_up: whether to stop waiting, since somebody asked this process to end.
    """

    def __init__(self, storage: str, gives_up: Callable[[], bool] = lambda: False) -> None:
        self.storage = storage
        self.gives_up = gives_up
        self.last_outage: float | None = None
        """When a call failed last, by time.monotonic(); None if none did."""

    def call(self, function: Callable[[], Returned]) -> Returned:
        """Return what a function returns, called again while the database is out of reach.

        Args:
            function: may be called several times: what it does before it fails must be undone or harmless.
        """
        began, wait = time.monotonic(), FIRST_WAIT
        while True:
            try:
                answer = function()
            except (StorageInternalError, DBAPIError) as error:
                if not is_outage(error):
                    raise
                now = time.monotonic()
                if self.gives_up() or now - began > RETRY_SECONDS:
                    raise
                if wait == FIRST_WAIT:
                    logger.info(f"{self.storage} does not answer ({_reason(error)}); trying again.")
                self.last_outage = now
                self._sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if wait > FIRST_WAIT:
                    self.last_outage = time.monotonic()
                    logger.info(f"{self.storage} answers again after {self.last_outage - began:.0f} s.")
                return answer

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.gives_up():
            time.sleep(SLICE_SECONDS)


class Heartbeat(threading.Thread):
    """Calls a function every few seconds until it is stopped; an outage only delays the next beat.

    Args:
        beat: what tells the storage that this worker lives.
        seconds: time between two beats.
    """

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        super().__init__(daemon=True)
        self._beat, self._seconds = beat, seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        is_heard, wait = True, self._seconds
        while not self._stopped.wait(wait):
            try:
                self._beat()
            except Exception as error:  # whatever it is, the thread must live: a silent worker is taken for dead
                if is_heard:
                    logger.info(f"The storage got no heartbeat ({_reason(error)}); trying again.")
                is_heard, wait = False, min(self._seconds, 1.0)  # heard again as soon as the storage is back
            else:
                is_heard, wait = True, self._seconds

    def stop(self) -> None:
        """End the thread, after the beat that it is at."""
        self._stopped.set()
        self.join()


def is_outage(error: BaseException) -> bool:
    """Return whether an error comes from a database that cannot be reached now, rather than from what was asked."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, DBAPIError):
        found = found.__cause__
    if found is None:
        return False
    if found.connection_invalidated:
        return True
    if not isinstance(found, OperationalError | InterfaceError):
        return False
    # A file that cannot be written to stays so; one that another process has locked is free soon.
    is_file = type(found.orig).__module__.startswith("sqlite3")
    return not is_file or "locked" in str(found.orig) or "busy" in str(found.orig)


def _reason(error: BaseException) -> str:
    return one_line(error.__cause__ or error).split("[SQL:")[0].split("(Background")[0].strip()
