"""Run a study on this machine: start workers, show their progress, and replace workers that die.

A single worker runs in the process of the study.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from research.studies.devices import VISIBLE_DEVICES, DeviceAssignment
from research.studies.grid import Trial
from research.studies.progress import StudyProgress
from research.studies.search.progress import SearchProgress
from research.studies.search.spec import SearchSpec
from research.studies.single_worker import run_single_worker, separate_console
from research.studies.storage.study import Study
from research.studies.storage.trials import StorageEntry
from research.studies.worker import CANNOT_WRITE_STATUS, LOGS, POLL_SECONDS, Worker
from research.studies.worker_command import worker_command
from research.system.durable import StorageError
from research.system.processes import SUPERVISOR_VARIABLE
from research.system.terminal import Terminal

MAX_IDLE_DEATHS = 3
"""The study is stopped after this number of deaths, times the number of workers, without any progress in between."""


@dataclass
class Supervisor:
    """Runs workers until all trials of a study have ended.

    Args:
        study: the study in its storage.
        trials: trials of the grid; empty for a search.
        directory: directory of the study.
        devices: assignment of GPUs to workers, which also determines the number of workers.
        accelerate_config: config file of `accelerate launch`, or None.
        trial_timeout: time limit for one attempt at a trial, such as 2h, or None.
        search: the search that proposes trials; None for a grid.
    """

    study: Study
    trials: Sequence[Trial]
    directory: Path
    devices: DeviceAssignment
    accelerate_config: str | None = None
    trial_timeout: str | None = None
    search: SearchSpec | None = None

    def __post_init__(self) -> None:
        self._stop_signal = 0
        self._workers: dict[int, subprocess.Popen[bytes]] = {}

    def run(self, console: Terminal) -> int:
        """Run until all trials are finished or have failed, and return the exit status.

        Raises:
            StorageError: if a trial cannot write its files.
            ValueError: if workers repeatedly die before they can claim a trial.
        """
        if self.devices.num_workers == 1:
            return self._run_in_this_process(console)
        previous_handlers = {
            number: signal.signal(number, self._handle_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        self.study.retry_policy.should_stop = lambda: bool(self._stop_signal)
        try:
            with self._create_display(console) as display:
                self._supervise(display)
        finally:
            self._terminate_workers()
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)
        return 128 + self._stop_signal if self._stop_signal else 0

    def _run_in_this_process(self, console: Terminal) -> int:
        entries = self._in_grid(self.study.entries())
        if not self._may_propose() and not any(entry.is_unfinished for entry in entries.values()):
            return 0
        worker = Worker(
            self.study, self.study.spec(), self.directory, self.accelerate_config, trial_timeout=self.trial_timeout
        )
        with separate_console(console) as own_console:
            return run_single_worker(worker, self._create_display(own_console), self._in_grid)

    def _create_display(self, console: Terminal) -> StudyProgress:
        if self.search is None:
            return StudyProgress(self.trials, console, self.directory)
        return SearchProgress(console, self.directory, self.search, higher_is_better=self.study.higher_is_better)

    def _supervise(self, display: StudyProgress) -> None:
        num_idle_deaths = 0  # number of workers that died since the last progress
        previous_progress = (-1, -1)  # number of ended trials, and number of deaths during trials
        while True:
            # A worker that ended normally has the status 0.
            dead_workers = [index for index, worker in self._workers.items() if worker.poll() not in (None, 0)]
            for index in dead_workers:
                if self._workers[index].returncode == CANNOT_WRITE_STATUS:
                    raise StorageError(self._log_lines(index)[-1].removeprefix("error: "))
            for index in [index for index, worker in self._workers.items() if worker.poll() is not None]:
                del self._workers[index]
            if dead_workers:
                self.study.requeue_dead_trials()
            entries = self._in_grid(self.study.entries())
            display.show(entries)
            unfinished_entries = [entry for entry in entries.values() if entry.is_unfinished]
            if self._stop_signal:
                if not self._workers:
                    return
            elif not unfinished_entries and not self._workers and not self._may_propose():
                return
            else:
                # Deaths during a trial are counted against that trial, which fails after a few of them.
                num_deaths_in_trials = sum(entry.attributes.get("deaths", 0) for entry in entries.values())
                current_progress = (len(entries) - len(unfinished_entries), num_deaths_in_trials)
                num_idle_deaths = len(dead_workers) + num_idle_deaths if current_progress == previous_progress else 0
                previous_progress = current_progress
                if num_idle_deaths >= MAX_IDLE_DEATHS * self.devices.num_workers:
                    last_lines = " / ".join(self._log_lines(dead_workers[-1])[-3:]) or "none"
                    raise ValueError(
                        "Workers die before they claim a trial. Last lines of "
                        f"{self._log_path(dead_workers[-1])}: {last_lines}"
                    )
                self._start_missing_workers(unfinished_entries)
            time.sleep(POLL_SECONDS)

    def _may_propose(self) -> bool:
        return self.search is not None and self.study.is_budget_left(self.search)

    def _start_missing_workers(self, unfinished_entries: Sequence[StorageEntry]) -> None:
        """Start the workers that are not running, but at most one for each trial of a grid that is waiting."""
        num_waiting = sum(entry.status == "waiting" for entry in unfinished_entries)
        if self._may_propose():
            num_waiting = self.devices.num_workers
        for index in range(self.devices.num_workers):
            if index not in self._workers and num_waiting > 0:
                self._workers[index] = self._start_worker(index)
                num_waiting -= 1

    def _start_worker(self, index: int) -> subprocess.Popen[bytes]:
        command = worker_command(
            self.study,
            self.directory,
            num_workers=self.devices.num_workers,
            accelerate_config=self.accelerate_config,
            trial_timeout=self.trial_timeout,
        )
        devices = self.devices.for_worker(index)
        gpu_variable = {VISIBLE_DEVICES: ",".join(devices)} if devices else {}
        path = self._log_path(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            # A separate session, so that the worker receives Ctrl-C only once, from this process.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, SUPERVISOR_VARIABLE: str(os.getpid()), **gpu_variable},
            )

    def _in_grid(self, entries: dict[str, StorageEntry]) -> dict[str, StorageEntry]:
        """Return the entries of the grid's trials; all entries in a search."""
        if self.search is not None:
            return entries
        in_grid = {trial.id for trial in self.trials}
        return {trial_id: entry for trial_id, entry in entries.items() if trial_id in in_grid}

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_signal = number
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.send_signal(number)

    def _terminate_workers(self) -> None:
        for worker in self._workers.values():
            if worker.poll() is None:
                worker.terminate()
        for worker in self._workers.values():
            worker.wait()

    def _log_lines(self, index: int) -> list[str]:
        return self._log_path(index).read_text(encoding="utf-8", errors="replace").splitlines()

    def _log_path(self, index: int) -> Path:
        return self.directory / LOGS / f"worker-{index}.txt"
