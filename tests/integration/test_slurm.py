"""The batch script for Slurm saves, requeues the job and resumes, with stand-ins for Slurm's commands."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders.run_files import result_of
from tests.builders.slurm_stand_in import HOSTNAME, StandIn
from tests.conftest import ROOT, BackgroundCommand
from tests.scripts.kills import find_differences

SCRIPT = ROOT / "experiments" / "slurm" / "train.sbatch"
PAUSE_CHECKPOINT = "step-00000003"
"""The checkpoint after the step at which the run pauses."""


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """Stand-ins for srun and scontrol."""
    return StandIn.create(tmp_path / "slurm")


StartJob = Callable[..., BackgroundCommand]


@pytest.fixture
def start_job(stand_in: StandIn, user_environment: dict[str, str], tmp_path: Path) -> Iterator[StartJob]:
    """A function that starts the batch script as Slurm does: `start_job(["--head", "lstm"], num_nodes=2)`."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    job_id = find_job_id()
    started: list[BackgroundCommand] = []

    def start(
        flags: list[str],
        *,
        num_nodes: int = 1,
        restart_count: int = 0,
        environment: dict[str, str] | None = None,
    ) -> BackgroundCommand:
        copy = tmp_path / "slurm_script"  # Slurm copies the script and runs the copy in the directory of sbatch
        shutil.copy(SCRIPT, copy)
        variables = {
            **os.environ,
            **user_environment,
            **stand_in.environment(job_id, num_nodes, restart_count),
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
        }
        output = tmp_path / f"job-{len(started)}.txt"
        started.append(BackgroundCommand(["bash", str(copy), *flags], tmp_path, variables, output))
        return started[-1]

    yield start
    for command in started:
        command.kill()


def find_job_id() -> int:
    """Return a job id for which the port that the script derives from it is free."""
    while True:
        job_id = random.randrange(10_000)
        with socket.socket() as listener:
            try:
                listener.bind((HOSTNAME, 20_000 + job_id))
            except OSError:
                continue
            return job_id


@pytest.fixture(scope="module")
def flags(pausable_run_flags: list[str]) -> list[str]:
    # Checkpoints are written only after a signal and after the last step.
    return [*pausable_run_flags, "--max_steps", "5", "--save_every", "100st"]


def start_paused(start_job: StartJob, flags: list[str], tmp_path: Path, num_nodes: int = 1) -> BackgroundCommand:
    """Start a job, and wait until all its tasks pause after step 3."""
    job = start_job([*flags, "--name", "a"], num_nodes=num_nodes, environment={"HOLD": str(tmp_path)})
    job.wait_for("all tasks to pause", lambda: all((tmp_path / f"held-{rank}").exists() for rank in range(num_nodes)))
    return job


def unpause(job: BackgroundCommand, tmp_path: Path, signal_number: signal.Signals) -> None:
    """Wait until the run reports that it received a signal, then let its tasks continue."""
    message = f"\n{signal_number.name}: finishing"
    job.wait_for("the message about the signal", lambda: message in job.read_output())
    (tmp_path / "go").touch()


def test_finished_run_is_not_requeued(
    start_job: StartJob, stand_in: StandIn, flags: list[str], uninterrupted_run: Path, tmp_path: Path
) -> None:
    job = start_job([*flags, "--name", "a"])
    assert job.wait() == 0, job.read_output()
    assert stand_in.requeued_jobs() == []
    assert not list(find_differences(uninterrupted_run, tmp_path / "runs" / "a"))


@pytest.mark.parametrize("num_nodes", [1, 2])
def test_job_is_requeued_before_its_time_limit_and_resumes(
    start_job: StartJob,
    stand_in: StandIn,
    flags: list[str],
    tmp_path: Path,
    num_nodes: int,
    request: pytest.FixtureRequest,
) -> None:
    job = start_paused(start_job, flags, tmp_path, num_nodes)
    os.kill(job.process.pid, signal.SIGUSR1)
    unpause(job, tmp_path, signal.SIGUSR1)
    assert job.wait() == 0, job.read_output()
    directory = tmp_path / "runs" / "a"
    assert [path.name for path in (directory / "checkpoints").iterdir()] == [PAUSE_CHECKPOINT]
    (job_id,) = stand_in.requeued_jobs()

    restarted = start_job([*flags, "--name", "a"], num_nodes=num_nodes, restart_count=1)
    assert restarted.wait() == 0, restarted.read_output()
    assert stand_in.requeued_jobs() == [job_id]
    assert result_of(directory)["resumed_from"] == PAUSE_CHECKPOINT
    reference = request.getfixturevalue("uninterrupted_run" if num_nodes == 1 else "uninterrupted_run_of_two_processes")
    assert not list(find_differences(reference, directory))


def test_preempted_job_is_requeued_with_a_checkpoint(
    start_job: StartJob, stand_in: StandIn, flags: list[str], tmp_path: Path
) -> None:
    job = start_paused(start_job, flags, tmp_path)
    # A preemption sends SIGTERM to the tasks only. The warning before the time limit, which it moves, may follow.
    (task,) = stand_in.task_pids()
    os.kill(task, signal.SIGTERM)
    job.wait_for("the message about SIGTERM", lambda: "\nSIGTERM: finishing" in job.read_output())
    os.kill(job.process.pid, signal.SIGUSR1)
    unpause(job, tmp_path, signal.SIGTERM)
    assert job.wait() == 0, job.read_output()
    assert len(stand_in.requeued_jobs()) == 1
    directory = tmp_path / "runs" / "a"
    assert [path.name for path in (directory / "checkpoints").iterdir()] == [PAUSE_CHECKPOINT]
    assert "SIGTERM" in str(result_of(directory)["error"])


@pytest.mark.parametrize("restart_count", [0, 1])
def test_failed_run_is_not_requeued(start_job: StartJob, stand_in: StandIn, restart_count: int) -> None:
    job = start_job(["--name", "a", "--batch_size", "0"], restart_count=restart_count)
    assert job.wait() == 2
    assert stand_in.requeued_jobs() == []


@pytest.fixture
def write_python(stand_in: StandIn) -> Callable[[str], None]:
    """A function that replaces `python` for the tasks by a shell script, for tests of the batch script alone."""

    def write(text: str) -> None:
        path = stand_in.folder / "python"
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    return write


@pytest.mark.parametrize(
    ("end", "is_requeued"),
    # 137: the run was killed, for example because it used too much memory. 139: it crashed.
    [("exit 1", False), ("exit 137", False), ("exit 139", False), ("exit 138", True), ("kill -TERM $$", True)],
)
def test_only_interrupted_runs_are_requeued(
    start_job: StartJob, stand_in: StandIn, write_python: Callable[[str], None], end: str, is_requeued: bool
) -> None:
    write_python(end)
    job = start_job(["--output_dir=a"])
    assert (job.wait() == 0) == is_requeued
    assert len(stand_in.requeued_jobs()) == is_requeued


def test_cancelled_job_is_not_requeued(
    start_job: StartJob, stand_in: StandIn, write_python: Callable[[str], None]
) -> None:
    write_python("exit 143")
    stand_in.set_state("COMPLETING")
    assert start_job(["--name", "a"]).wait() == 143
    assert stand_in.requeued_jobs() == []


def test_number_of_restarts_is_limited(
    start_job: StartJob, stand_in: StandIn, write_python: Callable[[str], None]
) -> None:
    write_python("exit 138")
    assert start_job(["--name", "a"], restart_count=3, environment={"MAX_RESTARTS": "3"}).wait() == 138
    assert stand_in.requeued_jobs() == []
    assert start_job(["--name", "a"], restart_count=2, environment={"MAX_RESTARTS": "3"}).wait() == 0
    assert len(stand_in.requeued_jobs()) == 1


def test_job_is_requeued_if_the_run_does_not_end_in_time(
    start_job: StartJob, stand_in: StandIn, write_python: Callable[[str], None], tmp_path: Path
) -> None:
    write_python(f"trap '' USR1; touch {tmp_path}/started; sleep 60")
    job = start_job(["--name", "a"], environment={"SAVE_SECONDS": "1"})
    job.wait_for("the task to start", (tmp_path / "started").exists)
    os.kill(job.process.pid, signal.SIGUSR1)
    assert job.wait() == 0, job.read_output()
    assert len(stand_in.requeued_jobs()) == 1


def test_sigterm_to_the_script_does_not_end_the_run(
    start_job: StartJob, stand_in: StandIn, write_python: Callable[[str], None], tmp_path: Path
) -> None:
    write_python(f"touch {tmp_path}/started; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; exit 143")
    job = start_job(["--name", "a"])
    job.wait_for("the task to start", (tmp_path / "started").exists)
    os.kill(job.process.pid, signal.SIGTERM)
    (tmp_path / "go").touch()
    assert job.wait() == 0, job.read_output()
    assert len(stand_in.requeued_jobs()) == 1


def test_arguments_reach_the_run_and_a_restart_resumes(
    start_job: StartJob, write_python: Callable[[str], None], tmp_path: Path
) -> None:
    write_python(f'printf "%s\\n" "$@" > {tmp_path}/arguments; env > {tmp_path}/environment')
    template = "Review: {text}\\nIt is 'fine'."
    for restart_count, resume in ((0, []), (1, ["--resume", "auto"])):
        job = start_job(["--name", "a", "--template", template], restart_count=restart_count)
        assert job.wait() == 0, job.read_output()
        arguments = (tmp_path / "arguments").read_text().splitlines()
        assert arguments == ["experiments/run.py", "--name", "a", "--template", template, *resume]
    # A single task is not a group of processes.
    assert "\nRANK=" not in (tmp_path / "environment").read_text()


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--head", "lstm"], {}),  # the name of the run would change at every start
        (["--name", "a"], {"SLURM_GPUS_ON_NODE": "4"}),  # one task would use only one of the GPUs
    ],
    ids=["no name", "GPUs without tasks"],
)
def test_script_refuses_before_the_run_starts(
    start_job: StartJob,
    write_python: Callable[[str], None],
    tmp_path: Path,
    arguments: list[str],
    environment: dict[str, str],
) -> None:
    write_python(f"touch {tmp_path}/started")
    job = start_job(arguments, environment=environment)
    assert job.wait() == 2
    assert len(job.read_output().splitlines()) == 1
    assert not (tmp_path / "started").exists()
