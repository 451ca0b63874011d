"""A plugin for the tests: appends a character to a file for every event of a run.

An event is a point of the loop, or an operation on a file or folder of the run directory. The environment variable RUN
names the run directory. PROGRESS names the folder for the files `events` (written by process 0 only) and
`pid-<process>` (the process id, written by every process).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from research.training.hook import POINTS, Hook, register_hook

FOLDER, RUN, RANK = Path(os.environ["PROGRESS"]), os.environ["RUN"], os.environ.get("RANK", "0")
FILE_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree")
"""Python's audit events for operations on files; the first argument of each is the path."""

(FOLDER / f"pid-{RANK}").write_text(str(os.getpid()))
_events = os.open(FOLDER / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _record_event() -> None:
    if RANK == "0":
        os.write(_events, b".")


def _watch_files(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FILE_EVENTS and RUN in str(arguments[0]):
        _record_event()


_record_event()
sys.addaudithook(_watch_files)


@register_hook("count_events")
class CountEvents(Hook):
    """Record every point of the loop as an event."""


def _record_point(hook: Hook, *arguments: Any) -> None:
    _record_event()


for _point in POINTS:
    setattr(CountEvents, _point, _record_point)
