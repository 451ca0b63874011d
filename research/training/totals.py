"""Sums over the steps of a run, continued when the run is resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Totals:
    """Sums over all steps taken."""

    num_skipped: int = 0
    """Number of steps whose optimizer update was skipped."""
    train_seconds: float = 0.0
    """Sum of the steps' times, in seconds; evaluations are excluded."""
    earlier_device_seconds: float = 0.0
    """Device time until the checkpoint from which the run was resumed, in seconds; 0 for a new run and for a fork."""
    started: float = field(default_factory=time.perf_counter)
    """When this session of the run started, as returned by `time.perf_counter`."""

    def continue_from(self, state: Mapping[str, Any], *, is_fork: bool) -> None:
        """Continue the sums of a checkpoint.

        Args:
            state: content of its state.json.
            is_fork: whether the checkpoint belongs to the parent of this run, whose own result has its device time.
        """
        self.num_skipped, self.train_seconds = state["num_skipped"], state["train_seconds"]
        self.earlier_device_seconds = 0.0 if is_fork else state["device_seconds"]

    def device_seconds(self, num_processes: int) -> float:
        """Return the device time until now: the duration of each session times its number of processes, in seconds.

        Args:
            num_processes: number of processes of this session.
        """
        return self.earlier_device_seconds + (time.perf_counter() - self.started) * num_processes
