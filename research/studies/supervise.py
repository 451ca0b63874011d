"""Run a study on this machine: start workers, show where they are, start others in the place of those that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from optuna.trial import TrialState

from research.studies.devices import VISIBLE, DeviceAssignment
from research.studies.grid import Trial
from research.studies.progress import StudyProgress
from research.studies.storage.study import Study
from research.studies.storage.trials import OPEN, Entry
from research.studies.worker import LOGS, POLL_SECONDS
from research.system.processes import SUPERVISOR
from research.system.scripts import script
from research.system.terminal import Terminal

MAX_IDLE_DEATHS = 3
"""Workers that may die one after the other, each before it took a trial."""


@dataclass
class Supervisor:
    """Keeps workers at a study until nothing is left to do.

    Args:
        study: where the trials are.
        trials: of the grid.
        directory: where the study lies.
        shares: GPUs of each worker; it has the number of trials at a time.
        accelerate_config: file for `accelerate launch`.
        trial_timeout: how long one attempt at a trial may take, such as 2h.
    """

    study: Study
    trials: Sequence[Trial]
    directory: Path
    shares: DeviceAssignment
    accelerate_config: str | None = None
    trial_timeout: str | None = None

    def __post_init__(self) -> None:
        self._asked_to_stop = 0
        self._workers: dict[int, subprocess.Popen[bytes]] = {}

    def run(self, console: Terminal) -> int:
        """Work until all trials are finished or have failed; return the exit status.

        Raises:
            ValueError: if workers die before they can take a trial.
        """
        before = {number: signal.signal(number, self._handle_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        self.study.retry_policy.should_stop = lambda: bool(self._asked_to_stop)
        try:
            with StudyProgress(self.trials, console, self.directory) as progress:
                self._supervise(progress)
        finally:
            self._end_workers()
            for number, handler in before.items():
                signal.signal(number, handler)
        return 128 + self._asked_to_stop if self._asked_to_stop else 0

    def _supervise(self, progress: StudyProgress) -> None:
        num_deaths, moved_before = 0, (-1, -1)
        while True:
            died = [index for index, worker in self._workers.items() if worker.poll() not in (None, 0)]
            for index in [index for index, worker in self._workers.items() if worker.poll() is not None]:
                del self._workers[index]
            if died:
                self.study.requeue_dead_trials()
            entries = self._mine()
            progress.show(entries)
            open_trials = [entry for entry in entries.values() if entry.state in OPEN]
            if self._asked_to_stop:
                if not self._workers:
                    return
            elif not open_trials and not self._workers:
                return
            else:
                # A death over a trial is the trial's, which fails after a few.
                deaths_over_trials = sum(entry.attributes.get("deaths", 0) for entry in entries.values())
                moved = (len(entries) - len(open_trials), deaths_over_trials)
                num_deaths = len(died) + num_deaths if moved == moved_before else 0
                moved_before = moved
                if num_deaths >= MAX_IDLE_DEATHS * self.shares.num_workers:
                    raise ValueError(
                        f"Workers die before they take a trial; the last lines of one: {self._tail(died[-1])}"
                    )
                self._fill_up(open_trials)
            time.sleep(POLL_SECONDS)

    def _fill_up(self, open_trials: Sequence[Entry]) -> None:
        """Start workers while trials wait for one."""
        num_waiting = sum(entry.state == TrialState.WAITING for entry in open_trials)
        for index in range(self.shares.num_workers):
            if index not in self._workers and num_waiting > 0:
                self._workers[index] = self._start(index)
                num_waiting -= 1

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            str(script("ablate")),
            "work",
            "--study",
            self.study.name,
            "--storage",
            self.study.address,
        ]
        command += ["--directory", str(self.directory), "--num_workers", str(self.shares.num_workers)]
        if self.accelerate_config is not None:
            command += ["--accelerate_config", self.accelerate_config]
        if self.trial_timeout is not None:
            command += ["--trial_timeout", self.trial_timeout]
        devices = self.shares.of(index)
        own = {VISIBLE: ",".join(devices)} if devices else {}
        path = self._log(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            # In a session of its own, so that a Ctrl-C reaches it once, from here.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, SUPERVISOR: str(os.getpid()), **own},
            )

    def _mine(self) -> dict[str, Entry]:
        asked = {trial.id for trial in self.trials}
        return {key: entry for key, entry in self.study.entries().items() if key in asked}

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = number
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.send_signal(number)

    def _end_workers(self) -> None:
        for worker in self._workers.values():
            if worker.poll() is None:
                worker.terminate()
        for worker in self._workers.values():
            worker.wait()

    def _tail(self, index: int) -> str:
        lines = self._log(index).read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(lines[-3:]) or "none"

    def _log(self, index: int) -> Path:
        return self.directory / LOGS / f"worker-{index}.txt"
