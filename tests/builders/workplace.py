"""A working directory in which tests run studies from the command line, as users do."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil

from research.studies.storage.database import local_address
from research.studies.storage.study import Study
from research.studies.storage.trials import StorageEntry
from tests.conftest import ROOT, BackgroundCommand, run_command
from tests.limits import wait_until

PLUGIN = """
import os
import time
from pathlib import Path
from research import Hook, register_hook

@register_hook("pausing")
class Pausing(Hook):
    '''Record starts and resumes; pause after step 3 while pause.txt exists; fail if the learning rate is too low.'''

    def on_train_start(self, run):
        with Path("starts.txt").open("a") as file:
            file.write(f"{run.config.lr} {run.config.seed}\\n")

    def on_resume(self, run):
        with Path("resumes.txt").open("a") as file:
            file.write(f"{run.config.lr} {run.config.seed} {run.clock.step}\\n")

    def after_step(self, run):
        if run.config.lr < 1e-5:
            raise ValueError("the rate is too low")
        while Path("pause.txt").exists() and run.clock.step == 3:
            pid = Path(f"{os.getpid()}.pid")
            pid.write_text(str(os.getpid()))
            pid.rename(f"paused-{run.config.lr}-{run.config.seed}.txt")
            time.sleep(0.02)
"""


class Workplace:
    """A working directory with a plugin, in which tests run `experiments/ablate.py`."""

    def __init__(self, folder: Path, encoder: Path, data: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment, "OMP_NUM_THREADS": "1"}
        (folder / "pausing.py").write_text(PLUGIN)
        self.base_arguments = ["--encoder", encoder, "--data", data, "--max_length", "16", "--batch_size", "8"]
        self.base_arguments += ["--name", "s", "--log_with", "[]", "--evaluate_every", "null", "--report", "false"]
        self.started: list[BackgroundCommand] = []

    def command(self, *arguments: object) -> list[str]:
        """Return the command that runs the study `s` with the given arguments."""
        script = ROOT / "experiments" / "ablate.py"
        return [sys.executable, str(script), *map(str, [*self.base_arguments, *arguments])]

    def run(self, *arguments: object, status: int = 0) -> str:
        """Run the study, check the exit status, and return everything that was printed."""
        completed = run_command(self.command(*arguments), self.folder, self.environment, timeout=300)
        assert completed.returncode == status, completed.stdout + completed.stderr
        return completed.stdout + completed.stderr

    def start(self, *arguments: object) -> BackgroundCommand:
        """Start the study without waiting for it."""
        output = self.folder / f"output-{len(self.started)}.txt"
        self.started.append(BackgroundCommand(self.command(*arguments), self.folder, self.environment, output))
        return self.started[-1]

    def entries(self) -> list[StorageEntry]:
        with Study("s", local_address((self.folder / "runs/s").resolve())) as study:
            return list(study.entries().values())

    def states(self) -> list[str]:
        """Return the sorted names of the trials' states."""
        return sorted(entry.state.name for entry in self.entries())

    def read_lines(self, name: str) -> list[str]:
        """Return the sorted lines of a file, or an empty list if the file does not exist."""
        path = self.folder / name
        return sorted(path.read_text().splitlines()) if path.exists() else []

    def paused_process(self, pattern: str) -> psutil.Process:
        """Return the process of a run that a hook has paused, according to the only file with such a name."""
        (path,) = self.folder.glob(pattern)
        return psutil.Process(int(path.read_text()))

    def wait_until_signalled(self, signal_number: signal.Signals) -> None:
        """Wait until the log of a trial shows that the trial has received the signal and will stop after this step."""
        logs = self.folder / "runs/s/logs"
        wait_until(
            lambda: any(f"{signal_number.name}:" in path.read_text() for path in logs.glob("*.txt")), signal_number.name
        )

    def results(self) -> dict[str, dict[str, Any]]:
        """Return the content of each trial's result.json, by the id of the trial."""
        return {
            path.parent.name: json.loads(path.read_text())
            for path in (self.folder / "runs/s/trials").glob("*/result.json")
        }

    def read_log(self, trial: str) -> str:
        return (self.folder / f"runs/s/logs/{trial}.txt").read_text()

    def kill_commands(self) -> None:
        """Kill all started commands that are still running."""
        for started in self.started:
            started.kill()
