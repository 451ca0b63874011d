"""What a run reports to the study that started it: a file of JSON lines, beside what it prints.

The file is not in the run directory, which is there only once settings and data were found to be usable.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from research.system.messages import logger, text_of

PLACE = "MIDWAY_EVENTS"
"""Environment variable with the file that a run writes its events to."""
MESSAGE, HIDDEN_STATES, ERROR = "message", "hidden_states", "error"
END_OF_FILE = 8192
"""Bytes from a file's end in which its last line is looked for."""


@dataclass(frozen=True)
class Event:
    """One line of the file."""

    kind: str
    """message, hidden_states or error."""
    text: str
    """As it is printed."""


class _Writer(logging.Handler):
    """Adds every message of this process to a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        _append(self.path, Event(getattr(record, "event", MESSAGE), text_of(record)))


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Write messages inside to a file of events as well."""
    writer = _Writer(path)
    logger.addHandler(writer)
    try:
        yield
    finally:
        logger.removeHandler(writer)


def writing_for_study() -> AbstractContextManager[None]:
    """Write messages inside to where the study that started this process looks, if one did."""
    return writing_to(Path(os.environ[PLACE])) if PLACE in os.environ else nullcontext()


def report_hidden_states(message: str) -> None:
    """Log a message about stored hidden states, which a study shows once for all of its trials."""
    logger.info(message, extra={"event": HIDDEN_STATES})


def report_error(message: str) -> None:
    """Tell the study that started this process, if one did, what ends it."""
    if PLACE in os.environ:
        _append(Path(os.environ[PLACE]), Event(ERROR, message))


def _append(path: Path, event: Event) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(event)) + "\n")


def read_events(lines: bytes) -> list[Event]:
    """Return the events in a part of a file; a line that is not whole is left out."""
    whole = [line for line in lines.splitlines(keepends=True) if line.endswith(b"\n")]
    events = []
    for line in whole:
        try:
            events.append(Event(**json.loads(line)))
        except (ValueError, TypeError):  # the part begins within a line
            continue
    return events


def last_event(path: Path, kind: str | None = None) -> Event | None:
    """Return the last event of a file that others write, or the last of a kind; None if there is none, or no file."""
    events = read_events(end_of(path))
    return next((event for event in reversed(events) if kind in (None, event.kind)), None)


def end_of(path: Path) -> bytes:
    """Return the end of a file that others write; nothing if there is no such file, or it is on another machine."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - END_OF_FILE))
            return file.read()
    except OSError:
        return b""
