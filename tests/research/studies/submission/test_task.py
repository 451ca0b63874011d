"""A task passes one SIGTERM on to its worker, waits for it, and is requeued only if it is preempted."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from research.studies.submission.task import WorkerTask
from tests.builders.slurm_stand_in import StandIn
from tests.limits import HANG_LIMIT, wait_until

SAVING_WORKER = """
import signal, sys, time
from pathlib import Path

def save(number, frame):
    with Path("signals").open("a") as file:
        file.write("SIGTERM ")
    time.sleep(0.5)
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
Path("started").touch()
time.sleep(600)
"""
"""A worker that takes half a second for saving."""
STUCK_WORKER = SAVING_WORKER.replace("sys.exit(143)", "").replace("600", "20")
"""A worker that does not end after SIGTERM, but after 20 seconds."""


def start_task(folder: Path, worker: str, save_seconds: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a task in a new process, and wait until its worker has started."""
    command = [sys.executable, "-c", worker]
    code = f"""
import json, signal, sys
from research.studies.submission.task import WorkerTask

task = WorkerTask(json.loads({json.dumps(command)!r}), {save_seconds})
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(99 if task.checkpoint() else 98))  # as submitit does
task()
"""
    variables = {**os.environ, "SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "1", **environment}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=variables)
    wait_until((folder / "started").exists, "the worker to start")
    return process


@pytest.mark.parametrize(
    ("signals", "slurm_state", "expected_status"),
    [
        ([signal.SIGUSR2], None, 99),  # shortly before the time limit
        ([signal.SIGTERM], None, 143),
        ([signal.SIGTERM], "RUNNING", 99),  # preempted
        ([signal.SIGTERM, signal.SIGUSR2], "RUNNING", 99),
        ([signal.SIGTERM], "COMPLETING", 143),  # after scancel
    ],
)
def test_worker_saves_and_the_task_is_requeued_unless_it_is_cancelled(
    tmp_path: Path, signals: list[signal.Signals], slurm_state: str | None, expected_status: int
) -> None:
    environment = {}
    if slurm_state is not None:
        stand_in = StandIn.create(tmp_path / "slurm")
        stand_in.set_state(slurm_state)
        environment = {**stand_in.environment(5, 1, 0), "SUBMITIT_EXECUTOR": "slurm"}
    process = start_task(tmp_path, SAVING_WORKER, 60, environment)
    for number in signals:
        process.send_signal(number)
        wait_until((tmp_path / "signals").exists, "the worker to be signalled")
    assert process.wait(HANG_LIMIT) == expected_status
    assert (tmp_path / "signals").read_text() == "SIGTERM "  # only once: a trial would not save after a second signal


def test_task_is_requeued_if_its_worker_does_not_save_in_time(tmp_path: Path) -> None:
    process = start_task(tmp_path, STUCK_WORKER, 1, {})
    began = time.monotonic()
    process.send_signal(signal.SIGUSR2)
    assert process.wait(HANG_LIMIT) == 99
    assert time.monotonic() - began >= 1


def test_task_fails_if_its_worker_fails_and_can_be_pickled() -> None:
    task = WorkerTask([sys.executable, "-c", "raise SystemExit(3)"], 1)
    copy = pickle.loads(pickle.dumps(task))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(RuntimeError, match="status 3"):
            copy()
        submission = copy.checkpoint()
        assert pickle.loads(pickle.dumps(submission)).function.command == task.command
    finally:
        signal.signal(signal.SIGTERM, before)
