"""Retry calls to a database that does not respond, so that a restart of its server does not end a study."""

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
"""How long a failing call is retried, in seconds."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""First and longest wait between two attempts, in seconds; each wait is twice as long as the previous one."""
STOP_CHECK_SECONDS = 0.25
"""Interval at which a waiting call checks whether it should stop, in seconds."""
Returned = TypeVar("Returned")


class RetryPolicy:
    """Retries calls to a storage while it cannot be reached.

    Args:
        storage: name of the storage in messages.
        should_stop: returns whether to stop waiting, because this process was asked to end.
    """

    def __init__(self, storage: str, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.storage = storage
        self.should_stop = should_stop
        self.last_outage: float | None = None
        """Time of the last known outage, by time.monotonic(); None if there was no outage."""

    def call(self, function: Callable[[], Returned]) -> Returned:
        """Call a function and return its result; while the database cannot be reached, call the function again.

        Args:
            function: the function. It may be called several times, so a failed call must leave no harmful changes.
        Raises:
            StorageInternalError, DBAPIError: if the call is wrong, or if the database could not be reached within
                RETRY_SECONDS or before `should_stop` returned True.
        """
        began, wait = time.monotonic(), FIRST_WAIT
        while True:
            try:
                result = function()
            except (StorageInternalError, DBAPIError) as error:
                if not is_outage(error):
                    raise
                now = time.monotonic()
                if self.should_stop() or now - began > RETRY_SECONDS:
                    raise
                if wait == FIRST_WAIT:
                    logger.info(f"{self.storage} does not respond ({_reason(error)}); retrying.")
                self.last_outage = now
                self._sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if wait > FIRST_WAIT:
                    self.last_outage = time.monotonic()
                    logger.info(f"{self.storage} responds again after {self.last_outage - began:.0f} s.")
                return result

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.should_stop():
            time.sleep(STOP_CHECK_SECONDS)


class Heartbeat(threading.Thread):
    """Thread that calls a function every few seconds until it is stopped. An error of the function is only logged.

    Args:
        beat: function that tells the storage that this worker is alive.
        seconds: time between two calls.
    """

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        super().__init__(daemon=True)
        self._beat, self._seconds = beat, seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        succeeded, wait = True, self._seconds
        while not self._stopped.wait(wait):
            try:
                self._beat()
            except Exception as error:  # no error may end this thread: a worker without heartbeats counts as dead
                if succeeded:
                    logger.info(f"The storage did not receive a heartbeat ({_reason(error)}); retrying.")
                # A shorter wait, so that a heartbeat follows soon after the storage is back.
                succeeded, wait = False, min(self._seconds, 1.0)
            else:
                succeeded, wait = True, self._seconds

    def stop(self) -> None:
        """End the thread after its current call."""
        self._stopped.set()
        self.join()


def is_outage(error: BaseException) -> bool:
    """Return whether an error means that the database cannot be reached now, rather than that the call is wrong."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError):
        cause = cause.__cause__
    if cause is None:
        return False
    if cause.connection_invalidated:
        return True
    if not isinstance(cause, OperationalError | InterfaceError):
        return False
    # An SQLite file without write permission stays unusable; one that another process has locked is soon free again.
    is_sqlite = type(cause.orig).__module__.startswith("sqlite3")
    return not is_sqlite or "locked" in str(cause.orig) or "busy" in str(cause.orig)


def _reason(error: BaseException) -> str:
    return one_line(error.__cause__ or error).split("[SQL:")[0].split("(Background")[0].strip()
