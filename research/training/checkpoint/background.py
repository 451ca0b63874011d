"""Write checkpoints in a thread while training continues."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from research.system.process_group import ProcessGroup
from research.training.checkpoint.save import UnwrittenCheckpoint

if TYPE_CHECKING:
    from research.training.run import TrainingRun


class BackgroundSaver:
    """Saves one checkpoint at a time; called on every process.

    The thread communicates through connections of its own. If it fails on one process, it fails on all of them. Python
    does not exit before the thread has finished.

    Args:
        run: the run, of which only the processes are used.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._processes = ProcessGroup.separate(run.accelerator.process_index, run.accelerator.num_processes)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[Path] | None = None

    def start(self, run: TrainingRun, keep: int) -> None:
        """Start to save a checkpoint. No other one is pending.

        Args:
            run: the run. Everything that it may change is copied first.
            keep: number of newest checkpoints to keep.
        Raises:
            StorageError, CheckpointError: on every process, if the checkpoint cannot be written.
        """
        assert self._pending is None, "wait() was called"
        self._pending = self._executor.submit(UnwrittenCheckpoint(run, keep, self._processes, copy=True).write)

    def wait(self) -> None:
        """Wait until the pending checkpoint, if there is one, is complete.

        Raises:
            StorageError: on every process, if it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """End the thread, and close its connections; after `wait`."""
        self._executor.shutdown()
        self._processes.close()
