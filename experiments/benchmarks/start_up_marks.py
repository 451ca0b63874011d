"""A plugin that notes when a run begins to train, takes its first step, has its result, and has drawn its report.

Each mark is a line of JSON: name, seconds since 1970, seconds of processor time that the process took so far. It uses
nothing but the public names, so that earlier commits can be measured beside later ones.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from research import Hook, register_hook

FILE_OF_MARKS = "START_UP_MARKS"
"""Environment variable with the path of the file that takes the marks."""
EVERY = 0.005
"""Seconds between two looks for a file."""
LAST_LOOK = 5.0
"""Seconds that a process which ends waits for a look."""


@register_hook("start_up_marks")
class StartUpMarks(Hook):
    """Write the marks of a run."""

    def on_train_start(self, run: Any) -> None:
        """Before the first step."""
        mark("training")

    def after_step(self, run: Any) -> None:
        """After the first step."""
        if run.clock.step == 1:
            mark("first step")

    def on_train_end(self, run: Any) -> None:
        """Watch for the files that come last."""
        watcher = threading.Thread(target=mark_files, args=(run.directory,), daemon=True)
        watcher.start()
        atexit.register(watcher.join, LAST_LOOK)  # the process may end before the next look


def mark(name: str) -> None:
    """Write a mark."""
    with Path(os.environ[FILE_OF_MARKS]).open("a", encoding="utf-8") as file:
        print(json.dumps([name, time.time(), time.process_time()]), file=file)


def mark_files(directory: Path) -> None:
    """Mark when result and report are there."""
    for name in ("result.json", "report.html"):
        while not (directory / name).exists():
            time.sleep(EVERY)
        mark(name)
