"""A plugin for the tests: a hook that pauses a run at a step until a file appears."""

from __future__ import annotations

import os
import time
from pathlib import Path

from research.training.api import Run
from research.training.hook import Hook, register_hook


@register_hook("hold")
class Hold(Hook):
    """Pause at a step, or before the evaluation of the test split, if the environment variable HOLD is set to a folder.

    A process that pauses writes its process id to the file `held-<process>` in this folder. Once a file `go`
    exists, all processes continue and do not pause again. A file `go-<process id>` does this for a single process.

    Args:
        step: number of the step after which to pause; 0 means before the evaluation of the test split.
    """

    def __init__(self, *, step: int = 3) -> None:
        self.step = step

    def after_step(self, run: Run) -> None:
        """Pause after the step."""
        if run.clock.step == self.step:
            self._pause(run)

    def before_evaluate(self, run: Run, split: str) -> None:
        """Pause before the evaluation of the test split if `step` is 0."""
        if split == "test" and self.step == 0:
            self._pause(run)

    def _pause(self, run: Run) -> None:
        folder = Path(os.environ.get("HOLD", "/nonexistent"))
        if not folder.is_dir():  # also if HOLD is not set
            return
        held = folder / f"held-{run.accelerator.process_index}"
        held.with_suffix(".writing").write_text(str(os.getpid()))
        held.with_suffix(".writing").rename(held)  # so that a test never reads an incomplete file
        end = time.monotonic() + 1800  # a guard against hanging
        while not (folder / "go").exists() and not (folder / f"go-{os.getpid()}").exists():
            assert time.monotonic() < end, "expected a file go or go-<process id>; it did not appear within 1800 s"
            time.sleep(0.01)
