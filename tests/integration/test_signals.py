"""A run that gets a signal saves after the current step, and later resumes with the same bits."""

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
from tests.scripts.kills import differences

AS_CHILD = ("-c", "import subprocess, sys; subprocess.call([sys.executable, *sys.argv[1:]])")
"""Options of Python that start the command in a child process, as a shell does."""
PAUSE_CHECKPOINT = "step-00000003"
"""The checkpoint after the step at which the run pauses."""
LAST_CHECKPOINT = "step-00000012"


@dataclass
class PausedRun:
    """A run whose processes wait after a step.

    Args:
        started: the running command.
        folder: folder in which the hook `hold` exchanges files with the test.
        directory: directory of the run.
    """

    started: BackgroundCommand
    folder: Path
    directory: Path

    def pid(self, rank: int) -> int:
        """Return the id of one of the processes."""
        return int((self.folder / f"held-{rank}").read_text())

    def wait_until_received(self, signum: signal.Signals) -> None:
        """Wait until the main process reports that it received a signal."""
        self.started.wait_for(
            "the message about the signal", lambda: f"\n{signum.name}: finishing" in self.started.read_output()
        )

    def unpause(self) -> None:
        """Let all processes continue."""
        (self.folder / "go").touch()

    def processes(self) -> list[int]:
        """Return the ids of all running processes of the command."""
        return [process.pid for process in self.started.running_processes()]

    def wait_until_ended(self, timeout: float = HANG_LIMIT) -> None:
        """Wait until all processes have ended."""
        end = time.monotonic() + timeout
        while self.processes():
            assert time.monotonic() < end, (
                f"{self.processes()} are still running after {timeout} s:\n{self.started.read_output()}"
            )
            time.sleep(0.02)

    def checkpoints(self) -> list[str]:
        """Return the names of all entries in the folder of checkpoints, complete or not."""
        folder = self.directory / "checkpoints"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def final_messages(self) -> list[str]:
        """Return the printed lines with the reason for the end of the run."""
        return [line for line in self.started.read_output().splitlines() if "ended the run after step" in line]


Pause = Callable[..., PausedRun]
Resume = Callable[..., str]


@pytest.fixture(scope="module")
def settings(held_flags: list[str]) -> list[str]:
    # Checkpoints are written only after a signal and after the last step.
    return [*held_flags, "--epochs", "2", "--best_metric", "loss", "--save_every", "100st"]


@pytest.fixture(scope="module")
def uninterrupted(launch: Launch, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run."""
    directory = tmp_path_factory.mktemp("uninterrupted") / "run"
    launch([*settings, "--output_dir", directory])
    return directory


@pytest.fixture(scope="module")
def uninterrupted_by_two(launch: Launch, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run of two processes."""
    directory = tmp_path_factory.mktemp("uninterrupted") / "run"
    launch([*settings, "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture
def hold(start: Start, settings: list[str], tmp_path: Path) -> Pause:
    """A function that starts a run, and waits until all of its processes are paused: `hold("--save_every", "2st")`."""

    def begin(
        *options: str,
        num_processes: int = 0,
        environment: dict[str, str] | None = None,
        launcher_options: Sequence[str] = (),
        output_flags: Sequence[str] = ("--output_dir", "run"),
    ) -> PausedRun:
        folder = tmp_path / "hold"
        folder.mkdir()
        started = start(
            [*settings, *options, *output_flags],
            num_processes=num_processes,
            environment={"HOLD": str(folder), **(environment or {})},
            launcher_options=launcher_options,
        )
        paused = PausedRun(started, folder, tmp_path / "run")
        ranks = range(max(1, num_processes))
        started.wait_for(
            "the pause of all processes", lambda: all((folder / f"held-{rank}").exists() for rank in ranks)
        )
        return paused

    return begin


@pytest.fixture
def resume(launch: Launch, settings: list[str]) -> Resume:
    """A function that resumes a paused run with the same command, and returns its output."""

    def run(paused: PausedRun, *options: str, num_processes: int = 0) -> str:
        output_flags = ["--output_dir", paused.directory, "--resume", "auto"]
        return launch([*settings, *options, *output_flags], num_processes=num_processes).stdout

    return run


@pytest.mark.parametrize(
    ("signum", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138), (signal.SIGHUP, 129)],
    ids=["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"],
)
def test_signal_saves_after_the_step(
    hold: Pause, resume: Resume, uninterrupted: Path, signum: signal.Signals, status: int
) -> None:
    paused = hold()
    os.kill(paused.pid(0), signum)
    paused.wait_until_received(signum)
    paused.unpause()
    assert paused.started.wait() == status
    assert paused.checkpoints() == [PAUSE_CHECKPOINT]
    result = result_of(paused.directory)
    assert result["status"] == "interrupted"
    printed = paused.started.read_output()
    assert re.search(rf"{signum.name} .*step 3 of 12.*{PAUSE_CHECKPOINT}", str(result["error"]))
    assert "Traceback" not in printed
    (message,) = paused.final_messages()
    assert message.startswith(f"error: {signum.name} ")
    assert printed.endswith(f"{message}\n")
    resume(paused)
    assert result_of(paused.directory)["resumed_from"] == PAUSE_CHECKPOINT
    assert not list(differences(uninterrupted, paused.directory))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_signal_to_the_launcher_of_one_process_saves_the_step(
    hold: Pause, resume: Resume, uninterrupted: Path, signum: signal.Signals
) -> None:
    paused = hold(num_processes=1)
    launcher = paused.started.process.pid
    os.kill(launcher, signum)
    assert paused.started.wait() == -signum
    assert paused.processes() == [paused.pid(0)], "the launcher ended its process"
    paused.unpause()
    paused.wait_until_ended()
    assert paused.checkpoints() == [PAUSE_CHECKPOINT]
    assert result_of(paused.directory)["status"] == "interrupted"
    (message,) = paused.final_messages()
    assert re.match("error: SIGTERM .*step 3 of 12", message)
    resume(paused, num_processes=1)
    assert not list(differences(uninterrupted, paused.directory))


def test_end_of_the_shell_does_not_end_the_run(hold: Pause, uninterrupted: Path) -> None:
    paused = hold(launcher_options=AS_CHILD)
    paused.started.process.kill()
    paused.started.wait()
    paused.unpause()
    paused.wait_until_ended()
    assert result_of(paused.directory)["status"] == "finished"
    assert not list(differences(uninterrupted, paused.directory))


def test_signal_to_the_launcher_of_two_processes_saves_the_step_once(
    hold: Pause, resume: Resume, uninterrupted_by_two: Path
) -> None:
    paused = hold(num_processes=2)
    os.kill(paused.started.process.pid, signal.SIGTERM)
    paused.wait_until_received(signal.SIGTERM)
    paused.unpause()
    assert paused.started.wait() != 0
    assert paused.processes() == []
    assert paused.checkpoints() == [PAUSE_CHECKPOINT]
    assert result_of(paused.directory)["status"] == "interrupted"
    assert len(paused.final_messages()) == 1
    resume(paused, num_processes=2)
    assert not list(differences(uninterrupted_by_two, paused.directory))


@pytest.mark.slow  # half a minute, like every run of two processes in this file
def test_death_of_the_launcher_of_two_processes_saves_the_step(hold: Pause) -> None:
    paused = hold(num_processes=2)
    paused.started.process.kill()
    paused.started.wait()
    assert len(paused.processes()) == 2
    paused.unpause()
    paused.wait_until_ended()
    assert paused.checkpoints() == [PAUSE_CHECKPOINT]
    assert re.search("SIGTERM .*step 3 ", str(result_of(paused.directory)["error"]))


def test_signal_to_one_of_two_processes_ends_both(hold: Pause, resume: Resume, uninterrupted_by_two: Path) -> None:
    paused = hold(num_processes=2)
    os.kill(paused.pid(1), signal.SIGTERM)
    paused.unpause()
    assert paused.started.wait() != 0
    assert paused.processes() == []
    assert paused.checkpoints() == [PAUSE_CHECKPOINT]
    assert result_of(paused.directory)["status"] == "interrupted"
    resume(paused, num_processes=2)
    assert not list(differences(uninterrupted_by_two, paused.directory))


@pytest.mark.skipif(
    "signals_to_handle" not in {field.name for field in fields(LaunchConfig)},
    reason="the launcher of this version of torch has no option --signals_to_handle",
)
def test_launcher_forwards_sigusr1_if_configured(hold: Pause) -> None:
    # PyTorch documents TORCHELASTIC_SIGNALS_TO_HANDLE, but torchrun overwrites it with the value of its own flag.
    # The variable PET_SIGNALS_TO_HANDLE sets that flag.
    environment = {"PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"}
    paused = hold(num_processes=2, environment=environment)
    os.kill(paused.started.process.pid, signal.SIGUSR1)
    paused.wait_until_received(signal.SIGUSR1)
    paused.unpause()
    assert paused.started.wait() != 0
    assert paused.processes() == []
    assert paused.checkpoints() == [PAUSE_CHECKPOINT]
    assert re.search("SIGUSR1 .*step 3 ", str(result_of(paused.directory)["error"]))


def test_second_signal_stops_at_once(hold: Pause) -> None:
    paused = hold()
    os.kill(paused.pid(0), signal.SIGTERM)
    paused.wait_until_received(signal.SIGTERM)
    os.kill(paused.pid(0), signal.SIGTERM)
    assert paused.started.wait() == -signal.SIGTERM  # although the run is still paused
    assert paused.checkpoints() == []


def test_second_signal_to_the_launcher_stops_two_processes_at_once(hold: Pause) -> None:
    paused = hold(num_processes=2)
    os.kill(paused.started.process.pid, signal.SIGTERM)
    paused.wait_until_received(signal.SIGTERM)
    time.sleep(REPEAT_SECONDS + 0.5)  # a signal before that would count as a repetition of the first one
    os.kill(paused.started.process.pid, signal.SIGTERM)
    assert paused.started.wait() != 0
    paused.wait_until_ended(5)
    assert paused.checkpoints() == []


@pytest.mark.slow  # half a minute, like every run of two processes in this file
def test_signal_repeated_by_the_launcher_is_not_a_second_signal(hold: Pause) -> None:
    paused = hold(num_processes=2)
    for rank in (0, 1):  # Slurm's scancel signals the processes and their launcher at about the same time
        os.kill(paused.pid(rank), signal.SIGTERM)
    os.kill(paused.started.process.pid, signal.SIGTERM)
    paused.started.wait_for(
        "the launcher's signals", lambda: paused.started.read_output().count("closing signal SIGTERM") == 2
    )
    paused.unpause()
    assert paused.started.wait() != 0
    assert paused.checkpoints() == [PAUSE_CHECKPOINT]


def test_death_of_one_of_two_processes_ends_the_command(hold: Pause) -> None:
    paused = hold(num_processes=2)
    os.kill(paused.pid(1), signal.SIGKILL)
    paused.unpause()
    assert paused.started.wait() != 0
    assert paused.processes() == []
    assert paused.checkpoints() == []


def test_restarted_run_resumes_from_its_checkpoint(hold: Pause, uninterrupted_by_two: Path, tmp_path: Path) -> None:
    # The run has no name, so the launcher's second start must find the same directory.
    paused = hold("--save_every", "2st", num_processes=2, launcher_options=["--max_restarts", "1"], output_flags=())
    os.kill(paused.pid(1), signal.SIGKILL)
    paused.unpause()
    assert paused.started.wait() == 0, paused.started.read_output()
    (directory,) = (tmp_path / "runs").iterdir()
    assert result_of(directory)["resumed_from"] == "step-00000002"
    assert not list(differences(uninterrupted_by_two, directory))


def test_restarted_run_without_a_checkpoint_starts_over(hold: Pause, uninterrupted_by_two: Path) -> None:
    paused = hold(num_processes=2, launcher_options=["--max_restarts", "1"])
    os.kill(paused.pid(0), signal.SIGKILL)
    paused.unpause()
    assert paused.started.wait() == 0, paused.started.read_output()
    assert result_of(paused.directory)["resumed_from"] is None
    assert not list(differences(uninterrupted_by_two, paused.directory))


@pytest.mark.parametrize("num_processes", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_signal_in_the_last_evaluation_loses_no_step(
    hold: Pause, resume: Resume, uninterrupted: Path, uninterrupted_by_two: Path, num_processes: int
) -> None:
    paused = hold("--hook.hold.step", "0", num_processes=num_processes)
    os.kill(paused.started.process.pid, signal.SIGTERM)
    paused.wait_until_received(signal.SIGTERM)
    paused.unpause()
    assert paused.started.wait() == (1 if num_processes else 143)
    assert paused.processes() == []
    assert result_of(paused.directory)["status"] == "interrupted"
    assert paused.checkpoints() == [LAST_CHECKPOINT]
    metrics = (paused.directory / "metrics.jsonl").read_bytes()
    assert LAST_CHECKPOINT in resume(paused, "--hook.hold.step", "0", num_processes=num_processes)
    # The files are equal byte for byte, including the measured speeds, so no line was written again.
    assert (paused.directory / "metrics.jsonl").read_bytes() == metrics
    assert not list(differences(uninterrupted_by_two if num_processes else uninterrupted, paused.directory))
