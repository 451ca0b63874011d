"""Settings of `ablate.py submit`, and checks of them that need no heavy imports."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from typing import Literal

from research.settings.declarations import Effect, setting
from research.studies.time_limit import parse_seconds
from research.system.packages import Package

SIGNAL_MARGIN = 60
"""Slurm may send a signal up to this many seconds early, so it is asked to send it this much earlier than needed."""
SUBMITIT = Package("submitit", extra="slurm")
_OWN_OPTIONS = ("array", "error", "job-name", "open-mode", "output", "partition", "requeue", "signal", "time")
"""Options of sbatch that the submission itself sets."""


@dataclass(frozen=True, kw_only=True)
class SubmitSettings:
    """Submission"""

    executor: Literal["slurm", "local"] = setting("slurm", effect=Effect.INVOCATION)
    """Where the workers run: as an array of Slurm, or as processes on the CPU cores of this machine."""
    partition: str | None = setting(None, effect=Effect.INVOCATION)
    """Slurm's partition; by default the cluster's."""
    time_limit: str = setting("24h", effect=Effect.INVOCATION, unit="time: 2h, 90m, 1h30m")
    """Time limit of a task. Before it is over, the task saves a checkpoint and is requeued."""
    gpus_per_task: int | None = setting(None, effect=Effect.INVOCATION, above=0, unit="GPUs")
    """GPUs of a task: as many as a trial has processes. By default none."""
    cpus_per_task: int | None = setting(None, effect=Effect.INVOCATION, above=0, unit="cores")
    """CPU cores of a task; by default what the cluster assigns."""
    memory: float | None = setting(None, effect=Effect.INVOCATION, above=0, unit="GB")
    """Memory of a task; by default what the cluster assigns."""
    save_seconds: int = setting(120, effect=Effect.INVOCATION, above=0, unit="seconds")
    """Time that a trial has for finishing its step and saving a checkpoint, before its task is requeued."""
    sbatch: list[str] = setting([], effect=Effect.INVOCATION)
    """Further options of sbatch, such as account=lab,qos=high."""

    @property
    def time_limit_minutes(self) -> int:
        """Return the time limit of a task in minutes."""
        return math.ceil(parse_seconds(self.time_limit) / 60)

    @property
    def signal_seconds(self) -> int:
        """Return how long before its time limit a task gets a signal, in seconds."""
        return self.save_seconds + SIGNAL_MARGIN

    @property
    def sbatch_options(self) -> dict[str, str | bool]:
        """Return the further options of sbatch by name; True for options without a value."""
        parts = [text.lstrip("-").partition("=") for text in self.sbatch]
        return {name: value if equals else True for name, equals, value in parts}

    def check(self, storage: str | None, workers: int | Literal["auto"]) -> None:
        """Check the settings, and that this machine can submit.

        Args:
            storage: address of the study's storage; None for a file in its directory.
            workers: the study's number of workers.
        Raises:
            ValueError: if a setting is invalid or has no effect, or if a program or package is missing.
        """
        if workers == "auto":
            raise ValueError("submit does not know the machines of the tasks. Give --workers a number of tasks.")
        if self.time_limit_minutes * 60 <= self.signal_seconds:
            raise ValueError(
                f"Expected a --time_limit above {self.signal_seconds} seconds, of which --save_seconds reserves "
                f"{self.save_seconds} for saving a checkpoint; got {self.time_limit}."
            )
        SUBMITIT.check_installed("command submit")
        if self.executor == "local":
            self._check_local()
        else:
            self._check_slurm(storage)

    def _check_local(self) -> None:
        for name in ("partition", "gpus_per_task", "cpus_per_task", "memory", "sbatch"):
            if getattr(self, name):
                raise ValueError(f"--{name} has no effect with --executor local. Omit it.")

    def _check_slurm(self, storage: str | None) -> None:
        for name in self.sbatch_options:
            if name in _OWN_OPTIONS:
                raise ValueError(f"The submission sets sbatch's option {name} itself. Omit it from --sbatch.")
        if shutil.which("sbatch") is None:
            raise ValueError("Cannot find sbatch. Submit on a machine of a Slurm cluster, or use --executor local.")
        if storage is None or storage.startswith("sqlite"):
            raise ValueError(
                "Slurm may run tasks on several machines, which need a database server: pass --storage "
                "postgresql+psycopg://user@host/name. SQLite can lose results on a network file system."
            )
