"""A plugin that records when a run starts training, has taken its first step, and has written its result and report.

Each record, called a mark, is a line of JSON: a name, the time in seconds since 1970, and the process's CPU time in
seconds. The plugin uses only public names, so that it works with earlier commits too.
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
EXIT_WAIT_SECONDS = 5.0
"""Longest time in seconds that the process waits for the result and the report before it exits."""


@register_hook("start_up_marks")
class StartUpMarks(Hook):
    """Write a mark when training starts, after the first step, and when the result and the report exist."""

    def on_train_start(self, run: Any) -> None:
        """Record the start of training."""
        write_mark("training")

    def after_step(self, run: Any) -> None:
        """Record the end of the first step."""
        if run.clock.step == 1:
            write_mark("first step")

    def on_train_end(self, run: Any) -> None:
        """Wait for the result and the report in a background thread."""
        file_waiter = threading.Thread(target=write_marks_for_files, args=(run.directory,), daemon=True)
        file_waiter.start()
        atexit.register(file_waiter.join, EXIT_WAIT_SECONDS)  # otherwise the process may end before the next check


def write_mark(name: str) -> None:
    """Append a mark with the current times to the file of marks."""
    with Path(os.environ[MARKS_VARIABLE]).open("a", encoding="utf-8") as file:
        print(json.dumps([name, time.time(), time.process_time()]), file=file)


def write_marks_for_files(directory: Path) -> None:
    """Wait for the result and then for the report, and write a mark as soon as each exists."""
    for name in ("result.json", "report.html"):
        while not (directory / name).exists():
            time.sleep(POLL_SECONDS)
        write_mark(name)
