"""Trace a few steps with the torch profiler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

from research.training.hook import Hook

if TYPE_CHECKING:
    from research.training.api import Run


class Profiling(Hook):
    """Write a torch profiler trace of the third to fifth step to profile/, for TensorBoard or Perfetto."""

    profiler: profile | None = None

    def on_train_start(self, run: Run) -> None:
        """Start the profiler. It ignores the first step, warms up in the second, and then records three."""
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
        self.profiler = profile(
            activities=activities,
            schedule=schedule(wait=1, warmup=1, active=3, repeat=1),
            on_trace_ready=tensorboard_trace_handler(
                str(run.directory / "profile"), worker_name=f"process-{run.accelerator.process_index}"
            ),
            record_shapes=True,
        )
        self.profiler.start()

    def on_resume(self, run: Run) -> None:
        """Start the profiler, which counts steps from the checkpoint."""
        self.on_train_start(run)

    def end_of_step(self, run: Run) -> None:
        """Notify the profiler that a step is over."""
        assert self.profiler is not None
        self.profiler.step()

    def on_train_end(self, run: Run) -> None:
        """Write the trace, which is shorter if the run ended early."""
        if self.profiler is not None:
            self.profiler.stop()

    def on_exception(self, run: Run, error: BaseException) -> None:
        """Write the trace, if the profiler was started before the error."""
        self.on_train_end(run)
