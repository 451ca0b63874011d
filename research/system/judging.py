"""A study decides after each evaluation of a trial whether the trial goes on: the connection between the two.

The trial's main process connects to a socket of the study's worker, sends its metrics, and waits for the answer. The
trial may run in the worker's own process, in a process of its own, or in several processes.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection, Listener

from research.system.errors import one_line
from research.system.messages import logger

JUDGE_VARIABLE = "MIDWAY_JUDGE"
"""Environment variable with the address of the socket of the study's worker."""

Judge = Callable[[int, Mapping[str, float]], str | None]
"""Given how much of the run is done, in percent, and its validation metrics, return the reason to end it, or None."""


def find_judge() -> Judge | None:
    """Return a function that asks the study that started this process, or None if no study decides about this run."""
    address = os.environ.get(JUDGE_VARIABLE)
    if address is None:
        return None

    def ask(percent: int, metrics: Mapping[str, float]) -> str | None:
        try:
            with Client(address) as connection:
                connection.send_bytes(json.dumps([percent, metrics]).encode())
                reason = json.loads(connection.recv_bytes())
        except (OSError, EOFError) as error:
            # The worker has died, which the run notices by itself, or cannot reach its storage, which it reports.
            logger.warning(f"the study did not answer whether this trial goes on ({one_line(error)}), so it does")
            return None
        assert reason is None or isinstance(reason, str)
        return reason

    return ask


@contextmanager
def serving_judge(judge: Judge) -> Iterator[str]:
    """Answer the questions of a trial in a thread, and yield the address for JUDGE_VARIABLE.

    Args:
        judge: called in the thread. If it raises an error, the trial goes on, and the error is raised at the end of the
            context.
    """
    errors: list[Exception] = []
    with Listener(None, "AF_UNIX") as listener:
        assert isinstance(listener.address, str)

        def serve() -> None:
            while True:
                with listener.accept() as connection:
                    if not _answer(connection, judge, errors):
                        return

        thread = threading.Thread(target=serve, name="judge", daemon=True)
        thread.start()
        try:
            yield listener.address
        except BaseException:
            for error in errors:
                logger.warning(f"the study could not decide whether the trial goes on: {one_line(error)}")
            raise
        finally:
            with Client(listener.address) as connection:
                connection.send_bytes(b"")  # ends the thread
            thread.join()
    if errors:
        raise errors[0]


def _answer(connection: Connection, judge: Judge, errors: list[Exception]) -> bool:
    """Answer one question; return False if the connection asks to stop."""
    try:
        question = connection.recv_bytes()
    except (EOFError, OSError):  # the trial was killed before it asked
        return True
    if not question:
        return False
    percent, metrics = json.loads(question)
    try:
        answer = judge(percent, metrics)
    except Exception as error:  # raised at the end of the context; the trial finds the connection closed
        errors.append(error)
        return True
    try:
        connection.send_bytes(json.dumps(answer).encode())
    except OSError:  # the trial was killed while it waited; a decision to end it is already recorded
        return True
    return True
