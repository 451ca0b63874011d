"""Inject faults into short runs, and read the results that must not depend on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from research import Hook, RunResult
from research.system.errors import is_user_facing
from research.training.api import Run
from research.training.run import TrainingRun
from tests.builders.run_files import metrics_lines_of, result_of, without_speed

Train = Callable[..., RunResult]
"""Function that trains in this process, and returns the result: `train(directory, CallAt(...), resume="auto")`."""

SHORT_RUN: dict[str, Any] = {
    "max_length": 32,
    "batch_size": 8,
    "log_every": 1,
    "mixed_precision": "no",
    "num_threads": 1,
    "report": False,
    "save_every": "2st",  # every two steps
    # The averaged weights and the best model add hook states and files to the checkpoints.
    "hook": ["ema"],
    "evaluate_every": "1st",  # every step
    "best_metric": "loss",
}
"""Settings of a run of six steps (one epoch of the tiny reviews), with checkpoints after steps 2, 4 and 6."""


@dataclass(frozen=True)
class RunResults:
    """Results that must be the same, bit for bit, for a run that recovered from a fault and a run without faults."""

    weights_sha256: object
    metrics: object
    metrics_lines: list[dict[str, float]]
    predictions: dict[str, dict[str, list[Any]]]


def read_run_results(directory: Path) -> RunResults:
    """Read the results of a finished run."""
    result = result_of(directory)
    assert result["status"] == "finished"
    tables = {split: pq.read_table(directory / "predictions" / f"{split}.parquet") for split in ("validation", "test")}
    return RunResults(
        result["weights_sha256"],
        result["metrics"],
        without_speed(metrics_lines_of(directory)),
        {split: table.to_pydict() for split, table in tables.items()},
    )


def checkpoint_names(directory: Path) -> list[str]:
    """Return the names of a run's checkpoints in order."""
    return sorted(path.name for path in (directory / "checkpoints").iterdir())


def files_under(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder and its subfolders, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class CallAt(Hook):
    """Call a function at one moment of a run, and record the number of each step that is trained.

    A run cannot be resumed with hooks that its checkpoint lacks, so every run in these tests uses this hook.

    Args:
        moment: "after_step", "writing" (when a checkpoint is written for the first time), "on_train_end", or "test"
            (before the test rows are evaluated); by default the function is never called.
        step: step in which to call the function; 0 for every step, which the moment "writing" does not support.
        action: function to call.
    """

    def __init__(self, moment: str = "", step: int = 0, action: Callable[[], object] = lambda: None) -> None:
        self.moment, self.step, self.action = moment, step, action
        self.run: TrainingRun | None = None
        self.trained_steps: list[int] = []
        if moment == "writing":
            sys.addaudithook(self._watch_files)

    def on_train_start(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.run = run

    def on_resume(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.run = run

    def after_step(self, run: Run) -> None:
        self.trained_steps.append(run.clock.step)
        self._call_if_due("after_step")

    def on_train_end(self, run: Run) -> None:
        self._call_if_due("on_train_end")

    def before_evaluate(self, run: Run, split: str) -> None:
        if split == "test":
            self._call_if_due("test")

    def _watch_files(self, event: str, arguments: tuple[Any, ...]) -> None:
        # The first file that a save writes after it has checked the free space and copied the hooks' files.
        first_file = f".step-{self.step:08d}.writing/process-0.json"
        if event == "open" and str(arguments[0]).endswith(first_file) and self.moment:
            self.moment = ""  # Python cannot remove the audit hook
            self.action()

    def _call_if_due(self, moment: str) -> None:
        assert self.run is not None
        if moment == self.moment and self.step in (0, self.run.clock.step):
            self.action()


class InterruptedRunError(Exception):
    """Raised to interrupt a run."""


def interrupt_run() -> None:
    """Raise an error that ends the run; for use as the `action` of CallAt."""
    raise InterruptedRunError


def expect_user_error(train: Train, *arguments: Any, **settings: Any) -> str:
    """Check that `train` fails with an error for the user, and return the error's one-line message."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers check the message)
        train(*arguments, **settings)
    assert is_user_facing(caught.value), "a traceback would be shown"
    assert "\n" not in str(caught.value)
    return str(caught.value)
