"""A plugin for the tests: shows the progress of a run by the length of a file.

An event is a point of the loop, or an operation on a file or folder of the run directory. The environment variable
PROGRESS is the folder for the files `events` (of process 0) and `pid-<process>`; RUN is the run directory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from research.training.hook import POINTS, Hook, register_hook

FOLDER, RUN, RANK = Path(os.environ["PROGRESS"]), os.environ["RUN"], os.environ.get("RANK", "0")
FILE_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree")

(FOLDER / f"pid-{RANK}").write_text(str(os.getpid()))
_events = os.open(FOLDER / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _count() -> None:
    if RANK == "0":
        os.write(_events, b".")


def _watch_files(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FILE_EVENTS and RUN in str(arguments[0]):
        _count()


_count()
sys.addaudithook(_watch_files)


@register_hook("count_events")
class CountEvents(Hook):
    """Count every point of the loop."""


def _counting(point: str) -> Any:
    def count(self: Hook, *arguments: Any) -> None:
        _count()

    return count


for _point in POINTS:
    setattr(CountEvents, _point, _counting(_point))
