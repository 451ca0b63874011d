"""A plugin for the tests: a hook that holds a run in a step until it is let go."""

from __future__ import annotations

import os
import time
from pathlib import Path

from research.training.api import Run
from research.training.hook import Hook, register_hook


@register_hook("hold")
class Hold(Hook):
    """Wait in a step, and in evaluations of the test split, where the environment's HOLD asks for it.

    HOLD is a folder; a file `held-<process>` in it says that the process with the id inside waits. A file `go` ends the
    waiting of all for good, a file `go-<id>` that of the process with this id.

    Args:
        step: step after which to wait; 0 is the evaluation of the test split.
    """

    def __init__(self, *, step: int = 3) -> None:
        self.step = step

    def after_step(self, run: Run) -> None:
        """Wait, if it is time."""
        if run.clock.step == self.step:
            self._wait(run)

    def before_evaluate(self, run: Run, split: str) -> None:
        """Wait, if it is time."""
        if split == "test" and self.step == 0:
            self._wait(run)

    def _wait(self, run: Run) -> None:
        folder = Path(os.environ.get("HOLD", "/nonexistent"))
        if not folder.is_dir():
            return
        held = folder / f"held-{run.accelerator.process_index}"
        held.with_suffix(".writing").write_text(str(os.getpid()))
        held.with_suffix(".writing").rename(held)
        end = time.monotonic() + 1800  # a guard against hanging
        while not (folder / "go").exists() and not (folder / f"go-{os.getpid()}").exists():
            assert time.monotonic() < end, "nobody let this run go on"
            time.sleep(0.01)
