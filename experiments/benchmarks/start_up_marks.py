"""A plugin that records when a run begins to train, takes its first step, writes its result, and writes its report.

Each mark is a line of JSON: name, seconds since 1970, processor time of the process in seconds. The plugin uses only
public names, so that it works with earlier commits too.
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

MARKS_VARIABLE = "START_UP_MARKS"
"""Environment variable with the path of the file to which marks are written."""
POLL_SECONDS = 0.005
"""Seconds between two checks whether a file exists."""
LAST_WAIT_SECONDS = 5.0
"""Seconds that the process waits at its end for the last files."""


@register_hook("start_up_marks")
class StartUpMarks(Hook):
    """Write the marks of a run."""

    def on_train_start(self, run: Any) -> None:
        """Record the start of training."""
        mark("training")

    def after_step(self, run: Any) -> None:
        """Record the end of the first step."""
        if run.clock.step == 1:
            mark("first step")

    def on_train_end(self, run: Any) -> None:
        """Wait for the last files in the background."""
        watcher = threading.Thread(target=mark_files, args=(run.directory,), daemon=True)
        watcher.start()
        atexit.register(watcher.join, LAST_WAIT_SECONDS)  # otherwise the process may end before the next check


def mark(name: str) -> None:
    """Write a mark."""
    with Path(os.environ[MARKS_VARIABLE]).open("a", encoding="utf-8") as file:
        print(json.dumps([name, time.time(), time.process_time()]), file=file)


def mark_files(directory: Path) -> None:
    """Record when the result and the report exist."""
    for name in ("result.json", "report.html"):
        while not (directory / name).exists():
            time.sleep(POLL_SECONDS)
        mark(name)
