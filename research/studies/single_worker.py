"""Run the only worker of a study in the study's own process, which saves the start of another one."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from research.studies.progress import StudyProgress
from research.studies.storage.study import Study
from research.studies.storage.trials import StorageEntry
from research.studies.worker import POLL_SECONDS, Worker
from research.system.terminal import Terminal


def run_single_worker(
    worker: Worker, display: StudyProgress, select: Callable[[dict[str, StorageEntry]], dict[str, StorageEntry]]
) -> int:
    """Run a worker until no trial is left, show its progress from a thread, and return the exit status.

    Args:
        worker: the worker.
        display: shows the progress. Its console must not write to the output of this process, which belongs to the
            trials; see `separate_console`.
        select: selects the entries to show.
    Raises:
        ValueError: if the storage cannot be used.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _showing(display, worker.study, select):
            return worker.work()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def separate_console(console: Terminal) -> Iterator[Terminal]:
    """Return a console that writes where a console writes now, even after the output of this process is redirected."""
    try:
        descriptor = os.dup(console.file.fileno())
    except (OSError, io.UnsupportedOperation):  # the console writes to memory
        yield console
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yield Terminal(file=file, width=console.width if console.is_terminal else None)


@contextmanager
def _showing(
    display: StudyProgress, study: Study, select: Callable[[dict[str, StorageEntry]], dict[str, StorageEntry]]
) -> Iterator[None]:
    """Show the progress of a study from a thread, until the end of the context."""
    is_over = threading.Event()
    errors: list[BaseException] = []

    def show() -> None:
        try:
            # A connection of its own, since the cache of a `Study` belongs to one thread.
            with Study(study.name, study.address, must_exist=True) as connection, display:
                connection.retry_policy.should_stop = is_over.is_set
                while True:
                    was_over = is_over.is_set()
                    display.show(select(connection.entries()))
                    if was_over:
                        return
                    is_over.wait(POLL_SECONDS)
        except Exception as error:  # raised below, in the thread of the study
            errors.append(error)

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if errors:
        raise errors[0]
