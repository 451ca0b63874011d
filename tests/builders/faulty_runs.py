"""Short runs with faults, and the results that must be the same afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from research import Hook
from research.system.errors import is_user_facing
from research.training.api import Run
from research.training.run import TrainingRun
from tests.builders.run_files import lines_of, result_of, without_times

Train = Callable[..., dict[str, Any]]


SHORT: dict[str, Any] = {
    "max_length": 32,
    "batch_size": 8,
    "log_every": 1,
    "mixed_precision": "no",
    "num_threads": 1,
    "report": False,
    "save_every": "2st",
    # An average of the weights and a best model: states of hooks, and files that checkpoints keep.
    "hook": ["ema"],
    "evaluate_every": "1st",
    "best_metric": "loss",
}
"""Six steps, with checkpoints after steps 2, 4 and 6."""


@dataclass(frozen=True)
class Bits:
    """The results of a run that must be the same after any fault."""

    weights_sha256: object
    metrics: object
    lines: list[dict[str, float]]
    predictions: dict[str, dict[str, list[Any]]]


def bits_of(directory: Path) -> Bits:
    result = result_of(directory)
    assert result["status"] == "finished"
    predictions = {
        split: pq.read_table(directory / "predictions" / f"{split}.parquet") for split in ("validation", "test")
    }
    return Bits(
        result["weights_sha256"],
        result["metrics"],
        without_times(lines_of(directory)),
        {split: table.to_pydict() for split, table in predictions.items()},
    )


def checkpoints_of(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "checkpoints").iterdir())


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class CallAt(Hook):
    """Call a function at one moment of a run, and record the trained steps.

    A resume refuses hooks that the checkpoint does not have, so every run of these tests uses this hook.
    """

    def __init__(self, moment: str = "", step: int = 0, action: Callable[[], object] = lambda: None) -> None:
        self.moment, self.step, self.action = moment, step, action
        self.run: TrainingRun | None = None
        self.trained: list[int] = []
        self.steps_of_calls: list[int] = []

    def on_train_start(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.run = run

    def on_resume(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.run = run

    def after_step(self, run: Run) -> None:
        self.trained.append(run.clock.step)
        self._act("after_step")

    def on_train_end(self, run: Run) -> None:
        self._act("on_train_end")

    def before_evaluate(self, run: Run, split: str) -> None:
        if split == "test":
            self._act("test")

    def state_dict(self) -> dict[str, Any]:
        # Each save calls this twice: to compute the size of the checkpoint, and after the writing has begun.
        if self.run is not None:
            self.steps_of_calls.append(self.run.clock.step)
            if self.steps_of_calls.count(self.step) == 2:
                self._act("writing")
        return {}

    def _act(self, moment: str) -> None:
        assert self.run is not None
        if moment == self.moment and self.step in (0, self.run.clock.step):
            self.action()


class CutError(Exception):
    """Interrupts a run in these tests."""


def cut() -> None:
    raise CutError


def refusal_of(train: Train, *arguments: Any, **changed: Any) -> str:
    """Return the one-line error message with which a run ends."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers check the message)
        train(*arguments, **changed)
    assert is_user_facing(caught.value), "a traceback would be shown"
    assert "\n" not in str(caught.value)
    return str(caught.value)
