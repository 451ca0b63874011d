"""The event file: JSON lines in which a run reports events to the study that started it.

The file is outside the run directory, which exists only after settings and data have been checked.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from research.system.messages import format_message, logger

EVENTS_FILE_VARIABLE = "MIDWAY_EVENTS"
"""Environment variable with the path of the event file."""
MESSAGE, HIDDEN_STATES, WARNING, ERROR = "message", "hidden_states", "warning", "error"
"""Kinds of events."""
TAIL_BYTES = 8192
"""Number of bytes at the end of a file in which to look for the last line."""


@dataclass(frozen=True)
class Event:
    """One line of an event file."""

    kind: str
    """message, hidden_states, warning or error."""
    text: str
    """The message as printed; for an error, without "error: " in front."""


class _EventWriter(logging.Handler):
    """Appends every message of this process to an event file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        default = WARNING if record.levelno >= logging.WARNING else MESSAGE
        _append(self.path, Event(getattr(record, "event", default), format_message(record)))


@contextmanager
def recording_events(path: Path) -> Iterator[None]:
    """Also write messages to an event file, for the duration of the context."""
    writer = _EventWriter(path)
    logger.addHandler(writer)
    try:
        yield
    finally:
        logger.removeHandler(writer)


def recording_events_for_study() -> AbstractContextManager[None]:
    """Also write messages to the event file of the study that started this process, if there is one."""
    if EVENTS_FILE_VARIABLE not in os.environ:
        return nullcontext()
    return recording_events(Path(os.environ[EVENTS_FILE_VARIABLE]))


def report_hidden_states(message: str) -> None:
    """Log a message about stored hidden states, which a study shows only once for all of its trials."""
    logger.info(message, extra={"event": HIDDEN_STATES})


def report_error(message: str) -> None:
    """If a study started this process, report to it the error with which the process ends."""
    if EVENTS_FILE_VARIABLE in os.environ:
        _append(Path(os.environ[EVENTS_FILE_VARIABLE]), Event(ERROR, message))


def _append(path: Path, event: Event) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(event)) + "\n")


def read_events(content: bytes) -> list[Event]:
    """Parse a part of an event file; incomplete lines are skipped."""
    complete_lines = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    events = []
    for line in complete_lines:
        try:
            events.append(Event(**json.loads(line)))
        except (ValueError, TypeError):  # the part starts in the middle of a line
            continue
    return events


def last_event(path: Path, kind: str | None = None) -> Event | None:
    """Return the last event, or the last one of a kind, in the tail of an event file; None if there is none."""
    events = read_events(read_tail(path))
    return next((event for event in reversed(events) if kind in (None, event.kind)), None)


def read_tail(path: Path) -> bytes:
    """Return the last bytes of a file that other processes write; empty if the file does not exist on this machine."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read()
    except OSError:
        return b""
