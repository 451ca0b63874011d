"""A task of a submitted study: it runs a worker, which saves and ends before the task is requeued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission

from research.system.processes import SUPERVISOR_VARIABLE, is_alive

POLL_SECONDS = 0.2
"""Interval at which a task checks whether its worker has ended, in seconds."""


class WorkerTask:
    """Runs a worker in a process of its own until no trial is left.

    submitit calls a task's `checkpoint` in a signal handler, and requeues the task when it returns. A trial cannot save
    a checkpoint in a signal handler of its own process.

    Args:
        command: command line of the worker.
        save_seconds: time that the worker has for saving, in seconds.
    """

    def __init__(self, command: Sequence[str], save_seconds: int) -> None:
        self.command, self.save_seconds = command, save_seconds
        self._worker: subprocess.Popen[bytes] | None = None
        self._is_ending = False

    def __call__(self) -> None:
        """Run the worker.

        Raises:
            RuntimeError: if the worker fails.
            SystemExit: if it is interrupted and the task is not requeued.
        """
        signal.signal(signal.SIGTERM, self._handle_sigterm)
        # A separate session, so that a signal to this process group does not reach the worker a second time.
        worker = self._worker = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, SUPERVISOR_VARIABLE: str(os.getpid())},
        )
        # Not `wait`, which holds a lock that `_end_worker` needs in a signal handler.
        while (status := worker.poll()) is None:
            time.sleep(POLL_SECONDS)
        if self._is_ending:
            sys.exit(status)
        if status != 0:
            raise RuntimeError(f"The worker ended with exit status {status}.")

    def checkpoint(self) -> DelayedSubmission:
        """Let the worker save and end, and return the task to requeue."""
        self._end_worker()
        return DelayedSubmission(WorkerTask(self.command, self.save_seconds))

    def _handle_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Let the worker save and end, and requeue the task if it is preempted.

        submitit ignores SIGTERM and waits for its own signal, which not every cluster sends before a preemption.
        """
        self._end_worker()
        if _is_preempted():
            os.kill(os.getpid(), getattr(signal, f"SIG{JobEnvironment.USR_SIG}"))  # makes submitit requeue the task

    def _end_worker(self) -> None:
        if self._worker is None:
            return
        if not self._is_ending:  # on a second signal, a trial would end without saving
            self._is_ending = True
            self._worker.terminate()
        end = time.monotonic() + self.save_seconds
        while self._worker.returncode is None and is_alive(self._worker.pid):
            if time.monotonic() > end:
                print(f"The worker did not end within {self.save_seconds} s; its trial resumes from an earlier save.")
                return
            time.sleep(POLL_SECONDS)


def _is_preempted() -> bool:
    """Return whether a SIGTERM is a preemption: in Slurm, the job is then still running, unlike after scancel."""
    environment = JobEnvironment()
    if environment.cluster != "slurm":
        return False
    command = ["scontrol", "show", "job", environment.raw_job_id]
    return "JobState=RUNNING" in subprocess.run(command, capture_output=True, text=True, check=False).stdout
