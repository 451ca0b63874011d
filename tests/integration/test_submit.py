"""Studies whose workers are submitted: with submitit's local executor, and to Slurm with stand-ins for its commands.

The commands of `workplace` run the study `s`, whose directory is runs/s.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from research.studies.storage.study import Study
from tests.builders.postgresql import needs_postgresql
from tests.builders.slurm_stand_in import ARRAY_ID, BATCH_SCRIPT, StandIn
from tests.builders.workplace import Workplace
from tests.conftest import BackgroundCommand, run_command
from tests.limits import HANG_LIMIT, wait_until

LOCAL = ["--executor", "local", "--workers", "2"]
PAUSING = ["--plugin", "pausing.py", "--hook", "pausing", "--lr", "1e-3"]
"""Flags with which trials pause in step 3 while pause.txt exists."""


def submit_command(workplace: Workplace, *arguments: object) -> list[str]:
    python, script, *others = workplace.command(*arguments)
    return [python, script, "submit", *others]


def submit(workplace: Workplace, *arguments: object) -> str:
    """Run `ablate.py submit`, and return everything that it printed."""
    # STARTED marks all processes that the command starts, so that `end_tasks` finds them.
    environment = {**workplace.environment, "STARTED": str(workplace.folder)}
    completed = run_command(submit_command(workplace, *arguments), workplace.folder, environment, timeout=HANG_LIMIT)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout + completed.stderr


def submitted_processes(workplace: Workplace) -> Iterator[psutil.Process]:
    """Yield the running processes that `submit` has started directly or indirectly."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("STARTED") == str(workplace.folder) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:  # the process has ended, or belongs to another user
            continue


@pytest.fixture(autouse=True)
def end_tasks(workplace: Workplace) -> Iterator[None]:
    """Kill tasks that a failed test has left."""
    yield
    while processes := [*submitted_processes(workplace)]:
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)


def wait_for_tasks(workplace: Workplace) -> None:
    wait_until(lambda: not [*submitted_processes(workplace)], "the end of the tasks")


def test_interrupted_task_saves_its_trial_is_requeued_and_goes_on(workplace: Workplace) -> None:
    (workplace.folder / "pause.txt").touch()
    arguments = [*PAUSING, "--seeds", "0,1", *LOCAL]
    printed = submit(workplace, *arguments)
    assert "Submitted 2 workers to local: job " in printed
    wait_until(lambda: len([*workplace.folder.glob("paused-*.txt")]) == 2, "two trials to pause")
    tasks = [process for process in submitted_processes(workplace) if "submitit.core._submit" in process.cmdline()]
    assert len(tasks) == 2
    tasks[0].send_signal(signal.SIGUSR2)  # as shortly before the time limit
    workplace.wait_until_signalled(signal.SIGTERM)
    (workplace.folder / "pause.txt").unlink()
    wait_for_tasks(workplace)
    assert workplace.states() == ["COMPLETE"] * 2
    (resumed,) = workplace.read_lines("resumes.txt")
    assert resumed.endswith(" 3")  # after this step, its checkpoint was saved
    logs = [path.read_text() for path in (workplace.folder / "runs/s/submitted").glob("*_log.*")]
    assert sum(log.count("Requeued job") for log in logs) == 1
    # The same command now writes the report, because no trial is left.
    printed = submit(workplace, *arguments)
    assert "Submitted" not in printed
    assert "report: runs/s/report.html" in printed
    assert (workplace.folder / "runs/s/report.html").exists()


def test_submitted_workers_of_a_search_propose_exactly_its_budget(workplace: Workplace) -> None:
    arguments = ["--search", "head_lr=1e-4..1e-1:log", "--trials", "5", "--freeze", "encoder", *LOCAL]
    assert "Submitted 2 workers" in submit(workplace, *arguments)
    wait_for_tasks(workplace)
    assert workplace.states() == ["COMPLETE"] * 5
    assert len({entry.attributes["pid"] for entry in workplace.entries()}) == 2
    printed = submit(workplace, *arguments)
    assert "Submitted" not in printed
    assert "5 configurations tried" in printed


@pytest.mark.slow
@needs_postgresql
def test_preempted_array_task_of_slurm_is_requeued_and_finishes(
    workplace: Workplace, postgresql_address: str, tmp_path: Path
) -> None:
    stand_in = StandIn.create(tmp_path / "slurm")
    workplace.environment |= stand_in.environment(78, 1, 0)
    (workplace.folder / "pause.txt").touch()
    arguments = [*PAUSING, "--seeds", "0,1", "--workers", "2", "--storage", postgresql_address, "--time_limit", "90m"]
    arguments += ["--partition", "gpu", "--gpus_per_task", "1", "--memory", "7.5", "--sbatch", "account=lab"]
    assert f"Submitted 2 workers to slurm: job {ARRAY_ID}." in submit(workplace, *arguments)
    script = stand_in.folder / BATCH_SCRIPT
    options = {line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if "#SBATCH" in line}
    assert options >= {"array=0-1%2", "time=90", "partition=gpu", "gpus-per-node=1", "mem=7680M", "account=lab"}
    assert options >= {"requeue", "signal=USR2@180", "open-mode=append", "job-name=s"}

    def start_first_task() -> BackgroundCommand:
        variables = {"SLURM_ARRAY_JOB_ID": str(ARRAY_ID), "SLURM_ARRAY_TASK_ID": "0"}
        output = tmp_path / f"job-{len(workplace.started)}.txt"
        workplace.started.append(
            BackgroundCommand(["bash", str(script)], workplace.folder, {**workplace.environment, **variables}, output)
        )
        return workplace.started[-1]

    job = start_first_task()
    job.wait_for("the trial to pause", lambda: any(workplace.folder.glob("paused-*.txt")))
    (task,) = stand_in.task_pids()
    os.kill(task, signal.SIGTERM)  # a preemption
    workplace.wait_until_signalled(signal.SIGTERM)
    (workplace.folder / "pause.txt").unlink()
    job.wait()
    assert stand_in.requeued_jobs() == [f"{ARRAY_ID}_0"], job.read_output()
    with Study("s", postgresql_address) as study:
        assert {entry.status for entry in study.entries().values()} == {"waiting"}

    job = start_first_task()
    assert job.wait() == 0, job.read_output()
    with Study("s", postgresql_address) as study:
        assert [entry.status for entry in study.entries().values()] == ["finished"] * 2
    assert len(workplace.read_lines("resumes.txt")) == 1
    assert "report: runs/s/report.html" in submit(workplace, *arguments)
