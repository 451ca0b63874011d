"""A test hook that hashes the state of a run after each step."""

from __future__ import annotations

from research import Hook
from research.training.api import Run
from research.training.digests import hash_run_state
from research.training.run import TrainingRun


class DigestRecorder(Hook):
    """Record hashes of the run's state after each step, one for each part of the state."""

    def __init__(self) -> None:
        self.hashes_by_step: dict[int, dict[str, str]] = {}

    def end_of_step(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.hashes_by_step[run.clock.step] = hash_run_state(run)
