"""A hook for the tests that hashes the state of a run."""

from __future__ import annotations

from research import Hook
from research.training.api import Run
from research.training.digests import digests
from research.training.run import TrainingRun


class Digests(Hook):
    """Keep hashes of the whole state after each step."""

    def __init__(self) -> None:
        self.found: dict[int, dict[str, str]] = {}

    def end_of_step(self, run: Run) -> None:
        assert isinstance(run, TrainingRun)
        self.found[run.clock.step] = digests(run)
