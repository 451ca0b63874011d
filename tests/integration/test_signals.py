"""A run that gets a signal writes a checkpoint after the current step; resumed, it ends like an uninterrupted run."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from torch.distributed.launcher.api import LaunchConfig

from research.system.signals import REPEAT_SECONDS
from tests.builders.run_files import result_of
from tests.conftest import BackgroundCommand, Launch, Start
from tests.limits import HANG_LIMIT
from tests.scripts.kills import find_differences

IN_CHILD_PROCESS = ("-c", "import subprocess, sys; subprocess.call([sys.executable, *sys.argv[1:]])")
"""Options of Python that start the command in a child process, as a shell does."""
PAUSE_CHECKPOINT = "step-00000003"
"""The checkpoint after the step at which the run pauses."""
LAST_CHECKPOINT = "step-00000012"


@dataclass
class PausedRun:
    """A run whose processes wait after a step.

    Args:
        command: the running command.
        folder: folder in which the hook `hold` exchanges files with the test.
        directory: directory of the run.
    """

    command: BackgroundCommand
    folder: Path
    directory: Path

    def pid(self, rank: int) -> int:
        """Return the id of the process with this rank."""
        return int((self.folder / f"held-{rank}").read_text())

    def wait_until_received(self, signal_number: signal.Signals) -> None:
        """Wait until the main process reports that it received a signal."""
        self.command.wait_for(
            "the message about the signal", lambda: f"\n{signal_number.name}: finishing" in self.command.read_output()
        )

    def unpause(self) -> None:
        """Let all paused processes continue."""
        (self.folder / "go").touch()

    def running_process_ids(self) -> list[int]:
        """Return the ids of all running processes of the command."""
        return [process.pid for process in self.command.running_processes()]

    def wait_until_ended(self, timeout: float = HANG_LIMIT) -> None:
        """Wait until all processes have ended."""
        end = time.monotonic() + timeout
        while self.running_process_ids():
            assert time.monotonic() < end, (
                f"{self.running_process_ids()} are still running after {timeout} s:\n{self.command.read_output()}"
            )
            time.sleep(0.02)

    def checkpoint_names(self) -> list[str]:
        """Return the names of all checkpoints, including unfinished ones."""
        folder = self.directory / "checkpoints"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def final_messages(self) -> list[str]:
        """Return the printed lines with the reason for the end of the run."""
        return [line for line in self.command.read_output().splitlines() if "ended the run after step" in line]


StartPaused = Callable[..., PausedRun]
Resume = Callable[..., str]


@pytest.fixture(scope="module")
def flags(pausable_run_flags: list[str]) -> list[str]:
    # Checkpoints are written only after a signal and after the last step.
    return [*pausable_run_flags, "--epochs", "2", "--best_metric", "loss", "--save_every", "100st"]


@pytest.fixture
def start_paused(start: Start, flags: list[str], tmp_path: Path) -> StartPaused:
    """A function that starts a run and waits until all its processes pause: `start_paused("--save_every", "2st")`."""

    def start_and_wait(
        *extra_flags: str,
        num_processes: int = 0,
        environment: dict[str, str] | None = None,
        launcher_options: Sequence[str] = (),
        output_flags: Sequence[str] = ("--output_dir", "run"),
    ) -> PausedRun:
        folder = tmp_path / "hold"
        folder.mkdir()
        command = start(
            [*flags, *extra_flags, *output_flags],
            num_processes=num_processes,
            environment={"HOLD": str(folder), **(environment or {})},
            launcher_options=launcher_options,
        )
        paused = PausedRun(command, folder, tmp_path / "run")
        ranks = range(max(1, num_processes))
        command.wait_for(
            "the pause of all processes", lambda: all((folder / f"held-{rank}").exists() for rank in ranks)
        )
        return paused

    return start_and_wait


@pytest.fixture
def resume(launch: Launch, flags: list[str]) -> Resume:
    """A function that resumes a stopped run with its original flags, and returns the output of the resumed run."""

    def run(stopped: PausedRun, *extra_flags: str, num_processes: int = 0) -> str:
        output_flags = ["--output_dir", stopped.directory, "--resume", "auto"]
        return launch([*flags, *extra_flags, *output_flags], num_processes=num_processes).stdout

    return run


# The exit status is 128 plus the number of the signal.
@pytest.mark.parametrize(
    ("signal_number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138), (signal.SIGHUP, 129)],
    ids=["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"],
)
def test_signal_ends_the_run_with_a_checkpoint_after_the_step(
    start_paused: StartPaused, resume: Resume, uninterrupted_run: Path, signal_number: signal.Signals, status: int
) -> None:
    paused = start_paused()
    os.kill(paused.pid(0), signal_number)
    paused.wait_until_received(signal_number)
    paused.unpause()
    assert paused.command.wait() == status
    assert paused.checkpoint_names() == [PAUSE_CHECKPOINT]
    result = result_of(paused.directory)
    assert result["status"] == "interrupted"
    printed = paused.command.read_output()
    assert re.search(rf"{signal_number.name} .*step 3 of 12.*{PAUSE_CHECKPOINT}", str(result["error"]))
    assert "Traceback" not in printed
    (message,) = paused.final_messages()
    assert message.startswith(f"error: {signal_number.name} ")
    assert printed.endswith(f"{message}\n")
    resume(paused)
    assert result_of(paused.directory)["resumed_from"] == PAUSE_CHECKPOINT
    assert not list(find_differences(uninterrupted_run, paused.directory))


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_signal_to_the_launcher_of_one_process_leaves_a_checkpoint(
    start_paused: StartPaused, resume: Resume, uninterrupted_run: Path, signal_number: signal.Signals
) -> None:
    paused = start_paused(num_processes=1)
    launcher = paused.command.process.pid
    os.kill(launcher, signal_number)
    assert paused.command.wait() == -signal_number
    assert paused.running_process_ids() == [paused.pid(0)], "expected the run's process to outlive its launcher"
    paused.unpause()
    paused.wait_until_ended()
    assert paused.checkpoint_names() == [PAUSE_CHECKPOINT]
    assert result_of(paused.directory)["status"] == "interrupted"
    (message,) = paused.final_messages()
    assert re.match("error: SIGTERM .*step 3 of 12", message)  # a run treats the end of its launcher as SIGTERM
    resume(paused, num_processes=1)
    assert not list(find_differences(uninterrupted_run, paused.directory))


def test_run_continues_after_its_shell_is_killed(start_paused: StartPaused, uninterrupted_run: Path) -> None:
    paused = start_paused(launcher_options=IN_CHILD_PROCESS)
    paused.command.process.kill()
    paused.command.wait()
    paused.unpause()
    paused.wait_until_ended()
    assert result_of(paused.directory)["status"] == "finished"
    assert not list(find_differences(uninterrupted_run, paused.directory))


def test_signal_to_the_launcher_of_two_processes_leaves_one_checkpoint(
    start_paused: StartPaused, resume: Resume, uninterrupted_run_of_two_processes: Path
) -> None:
    paused = start_paused(num_processes=2)
    os.kill(paused.command.process.pid, signal.SIGTERM)
    paused.wait_until_received(signal.SIGTERM)
    paused.unpause()
    assert paused.command.wait() != 0
    assert paused.running_process_ids() == []
    assert paused.checkpoint_names() == [PAUSE_CHECKPOINT]
    assert result_of(paused.directory)["status"] == "interrupted"
    assert len(paused.final_messages()) == 1
    resume(paused, num_processes=2)
    assert not list(find_differences(uninterrupted_run_of_two_processes, paused.directory))


@pytest.mark.slow  # half a minute, like every run of two processes in this file
def test_killed_launcher_of_two_processes_leaves_a_checkpoint(start_paused: StartPaused) -> None:
    paused = start_paused(num_processes=2)
    paused.command.process.kill()
    paused.command.wait()
    assert len(paused.running_process_ids()) == 2
    paused.unpause()
    paused.wait_until_ended()
    assert paused.checkpoint_names() == [PAUSE_CHECKPOINT]
    assert re.search("SIGTERM .*step 3 ", str(result_of(paused.directory)["error"]))


def test_signal_to_one_of_two_processes_ends_both_with_a_checkpoint(
    start_paused: StartPaused, resume: Resume, uninterrupted_run_of_two_processes: Path
) -> None:
    paused = start_paused(num_processes=2)
    os.kill(paused.pid(1), signal.SIGTERM)
    paused.unpause()
    assert paused.command.wait() != 0
    assert paused.running_process_ids() == []
    assert paused.checkpoint_names() == [PAUSE_CHECKPOINT]
    assert result_of(paused.directory)["status"] == "interrupted"
    resume(paused, num_processes=2)
    assert not list(find_differences(uninterrupted_run_of_two_processes, paused.directory))


@pytest.mark.skipif(
    "signals_to_handle" not in {field.name for field in fields(LaunchConfig)},
    reason="the launcher of this version of torch has no option --signals_to_handle",
)
def test_launcher_forwards_sigusr1_if_configured(start_paused: StartPaused) -> None:
    # PyTorch documents TORCHELASTIC_SIGNALS_TO_HANDLE, but torchrun overwrites it with the value of its own flag.
    # The variable PET_SIGNALS_TO_HANDLE sets that flag.
    environment = {"PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"}
    paused = start_paused(num_processes=2, environment=environment)
    os.kill(paused.command.process.pid, signal.SIGUSR1)
    paused.wait_until_received(signal.SIGUSR1)
    paused.unpause()
    assert paused.command.wait() != 0
    assert paused.running_process_ids() == []
    assert paused.checkpoint_names() == [PAUSE_CHECKPOINT]
    assert re.search("SIGUSR1 .*step 3 ", str(result_of(paused.directory)["error"]))


def test_second_signal_stops_the_run_at_once_without_a_checkpoint(start_paused: StartPaused) -> None:
    paused = start_paused()
    os.kill(paused.pid(0), signal.SIGTERM)
    paused.wait_until_received(signal.SIGTERM)
    os.kill(paused.pid(0), signal.SIGTERM)
    assert paused.command.wait() == -signal.SIGTERM  # although the run is still paused
    assert paused.checkpoint_names() == []


def test_second_signal_to_the_launcher_stops_two_processes_at_once(start_paused: StartPaused) -> None:
    paused = start_paused(num_processes=2)
    os.kill(paused.command.process.pid, signal.SIGTERM)
    paused.wait_until_received(signal.SIGTERM)
    time.sleep(REPEAT_SECONDS + 0.5)  # an earlier signal would be taken for a repetition of the first one
    os.kill(paused.command.process.pid, signal.SIGTERM)
    assert paused.command.wait() != 0
    paused.wait_until_ended(5)
    assert paused.checkpoint_names() == []


@pytest.mark.slow  # half a minute, like every run of two processes in this file
def test_signal_repeated_by_the_launcher_is_not_a_second_signal(start_paused: StartPaused) -> None:
    paused = start_paused(num_processes=2)
    for rank in (0, 1):  # Slurm's scancel signals the processes and their launcher at about the same time
        os.kill(paused.pid(rank), signal.SIGTERM)
    os.kill(paused.command.process.pid, signal.SIGTERM)
    paused.command.wait_for(
        "the launcher's signals", lambda: paused.command.read_output().count("closing signal SIGTERM") == 2
    )
    paused.unpause()
    assert paused.command.wait() != 0
    assert paused.checkpoint_names() == [PAUSE_CHECKPOINT]


def test_command_ends_if_one_of_two_processes_is_killed(start_paused: StartPaused) -> None:
    paused = start_paused(num_processes=2)
    os.kill(paused.pid(1), signal.SIGKILL)
    paused.unpause()
    assert paused.command.wait() != 0
    assert paused.running_process_ids() == []
    assert paused.checkpoint_names() == []


def test_run_restarted_by_the_launcher_resumes_from_its_checkpoint(
    start_paused: StartPaused, uninterrupted_run_of_two_processes: Path, tmp_path: Path
) -> None:
    # The run has no name, so the launcher's second start must find the same directory.
    paused = start_paused(
        "--save_every", "2st", num_processes=2, launcher_options=["--max_restarts", "1"], output_flags=()
    )
    os.kill(paused.pid(1), signal.SIGKILL)
    paused.unpause()
    assert paused.command.wait() == 0, paused.command.read_output()
    (directory,) = (tmp_path / "runs").iterdir()
    assert result_of(directory)["resumed_from"] == "step-00000002"
    assert not list(find_differences(uninterrupted_run_of_two_processes, directory))


def test_run_restarted_by_the_launcher_without_a_checkpoint_starts_over(
    start_paused: StartPaused, uninterrupted_run_of_two_processes: Path
) -> None:
    paused = start_paused(num_processes=2, launcher_options=["--max_restarts", "1"])
    os.kill(paused.pid(0), signal.SIGKILL)
    paused.unpause()
    assert paused.command.wait() == 0, paused.command.read_output()
    assert result_of(paused.directory)["resumed_from"] is None
    assert not list(find_differences(uninterrupted_run_of_two_processes, paused.directory))


# 0 processes means a run without a launcher.
@pytest.mark.parametrize("num_processes", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_run_interrupted_in_the_test_evaluation_resumes_without_repeating_steps(
    start_paused: StartPaused,
    resume: Resume,
    uninterrupted_run: Path,
    uninterrupted_run_of_two_processes: Path,
    num_processes: int,
) -> None:
    # With step 0, the hook pauses before the evaluation of the test split.
    paused = start_paused("--hook.hold.step", "0", num_processes=num_processes)
    os.kill(paused.command.process.pid, signal.SIGTERM)
    paused.wait_until_received(signal.SIGTERM)
    paused.unpause()
    assert paused.command.wait() == (1 if num_processes else 143)  # torchrun always ends with status 1
    assert paused.running_process_ids() == []
    assert result_of(paused.directory)["status"] == "interrupted"
    assert paused.checkpoint_names() == [LAST_CHECKPOINT]
    metrics = (paused.directory / "metrics.jsonl").read_bytes()
    assert LAST_CHECKPOINT in resume(paused, "--hook.hold.step", "0", num_processes=num_processes)
    # The files are equal byte for byte, including the measured speeds, so no line was written again.
    assert (paused.directory / "metrics.jsonl").read_bytes() == metrics
    assert not list(
        find_differences(uninterrupted_run_of_two_processes if num_processes else uninterrupted_run, paused.directory)
    )
