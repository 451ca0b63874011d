"""A plugin that records when a run starts training, has taken its first step, and has written its result and report.

Each mark is a line of JSON: its name, the time in seconds since 1970, and the processor time of the process in seconds.
The plugin uses only public names, so that it works with earlier commits too.
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
"""Seconds between two checks for a file."""
EXIT_WAIT_SECONDS = 5.0
"""Seconds that the process waits for the last files before it exits."""


@register_hook("start_up_marks")
class StartUpMarks(Hook):
    """Record when the parts of a run begin and end."""

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
        atexit.register(watcher.join, EXIT_WAIT_SECONDS)  # otherwise the process may end before the next check


def mark(name: str) -> None:
    """Append a mark with the current time to the file."""
    with Path(os.environ[MARKS_VARIABLE]).open("a", encoding="utf-8") as file:
        print(json.dumps([name, time.time(), time.process_time()]), file=file)


def mark_files(directory: Path) -> None:
    """Wait for the result and then the report, and record when each one exists."""
    for name in ("result.json", "report.html"):
        while not (directory / name).exists():
            time.sleep(POLL_SECONDS)
        mark(name)
