"""A run that is asked to end saves after the step, and later resumes with the same bits."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from research.system.signals import ECHO_SECONDS
from tests.builders.run_files import result_of
from tests.conftest import Launch, Start, Started
from tests.limits import HANG_LIMIT
from tests.scripts.kills import differences

LIKE_A_SHELL = ("-c", "import subprocess, sys; subprocess.call([sys.executable, *sys.argv[1:]])")
HELD_AT = "step-00000003"
LAST = "step-00000012"


@dataclass
class Held:
    """A run whose processes wait in a step.

    Args:
        started: its command.
        folder: where the processes say that they wait, and look for a word to go on.
        directory: the run's.
    """

    started: Started
    folder: Path
    directory: Path

    def pid(self, rank: int) -> int:
        """Return the id of one of the processes."""
        return int((self.folder / f"held-{rank}").read_text())

    def wait_until_heard(self, number: signal.Signals) -> None:
        """Wait until the main process reports that it got a signal."""
        self.started.wait_for("word of the signal", lambda: f"\n{number.name}: finishing" in self.started.printed())

    def let_go(self) -> None:
        """Let all processes go on."""
        (self.folder / "go").touch()

    def processes(self) -> list[int]:
        """Return the ids of all processes of the command that still run."""
        return [process.pid for process in self.started.members()]

    def wait_until_gone(self, timeout: float = HANG_LIMIT) -> None:
        """Wait until none of the processes runs."""
        end = time.monotonic() + timeout
        while self.processes():
            assert time.monotonic() < end, f"{self.processes()} still run after {timeout} s:\n{self.started.printed()}"
            time.sleep(0.02)

    def checkpoints(self) -> list[str]:
        """Return the names of what is in the folder of checkpoints, whole or not."""
        folder = self.directory / "checkpoints"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def last_words(self) -> list[str]:
        """Return the lines that say why the run ended."""
        return [line for line in self.started.printed().splitlines() if "ended the run after step" in line]


Hold = Callable[..., Held]
Resume = Callable[..., str]


@pytest.fixture(scope="module")
def settings(held_settings: list[str]) -> list[str]:
    # Signals save, and the last step.
    return [*held_settings, "--epochs", "2", "--best_metric", "loss", "--save_every", "100st"]


@pytest.fixture(scope="module")
def whole(launch: Launch, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that nothing interrupted."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    launch([*settings, "--output_dir", directory])
    return directory


@pytest.fixture(scope="module")
def whole_of_two(launch: Launch, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run on two processes that nothing interrupted."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    launch([*settings, "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture
def hold(start: Start, settings: list[str], tmp_path: Path) -> Hold:
    """Start a run, and wait until each of its processes waits in a step: `hold("--save_every", "2st")`."""

    def begin(
        *options: str,
        num_processes: int = 0,
        environment: dict[str, str] | None = None,
        launcher_options: Sequence[str] = (),
        where: Sequence[str] = ("--output_dir", "run"),
    ) -> Held:
        folder = tmp_path / "hold"
        folder.mkdir()
        started = start(
            [*settings, *options, *where],
            num_processes=num_processes,
            environment={"HOLD": str(folder), **(environment or {})},
            launcher_options=launcher_options,
        )
        held = Held(started, folder, tmp_path / "run")
        ranks = range(max(1, num_processes))
        started.wait_for("word of waiting", lambda: all((folder / f"held-{rank}").exists() for rank in ranks))
        return held

    return begin


@pytest.fixture
def resume(launch: Launch, settings: list[str]) -> Resume:
    """Go on with a run that was held, by the same command, and return what that prints."""

    def go_on(held: Held, *options: str, num_processes: int = 0) -> str:
        where = ["--output_dir", held.directory, "--resume", "auto"]
        return launch([*settings, *options, *where], num_processes=num_processes).stdout

    return go_on


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138), (signal.SIGHUP, 129)],
    ids=["SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"],
)
def test_signal_lets_the_step_end_and_saves_it(
    hold: Hold, resume: Resume, whole: Path, number: signal.Signals, status: int
) -> None:
    held = hold()
    os.kill(held.pid(0), number)
    held.wait_until_heard(number)
    held.let_go()
    assert held.started.end() == status
    assert held.checkpoints() == [HELD_AT]
    result = result_of(held.directory)
    assert result["status"] == "interrupted"
    printed = held.started.printed()
    assert re.search(rf"{number.name} .*step 3 of 12.*{HELD_AT}", str(result["error"]))
    assert "Traceback" not in printed
    (words,) = held.last_words()
    assert words.startswith(f"error: {number.name} ")
    assert printed.endswith(f"{words}\n")
    resume(held)
    assert result_of(held.directory)["resumed_from"] == HELD_AT
    assert not list(differences(whole, held.directory))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_signal_to_the_launcher_of_one_process_saves_the_step(
    hold: Hold, resume: Resume, whole: Path, number: signal.Signals
) -> None:
    held = hold(num_processes=1)
    launcher = held.started.process.pid
    os.kill(launcher, number)
    assert held.started.end() == -number
    assert held.processes() == [held.pid(0)], "the launcher took its process along"
    held.let_go()
    held.wait_until_gone()
    assert held.checkpoints() == [HELD_AT]
    assert result_of(held.directory)["status"] == "interrupted"
    (words,) = held.last_words()
    assert re.match("error: SIGTERM .*step 3 of 12", words)
    resume(held, num_processes=1)
    assert not list(differences(whole, held.directory))


def test_end_of_the_shell_ends_no_run(hold: Hold, whole: Path) -> None:
    held = hold(launcher_options=LIKE_A_SHELL)
    held.started.process.kill()
    held.started.end()
    held.let_go()
    held.wait_until_gone()
    assert result_of(held.directory)["status"] == "finished"
    assert not list(differences(whole, held.directory))


def test_signal_to_the_launcher_of_two_processes_saves_the_step_once(
    hold: Hold, resume: Resume, whole_of_two: Path
) -> None:
    held = hold(num_processes=2)
    os.kill(held.started.process.pid, signal.SIGTERM)
    held.wait_until_heard(signal.SIGTERM)
    held.let_go()
    assert held.started.end() != 0
    assert held.processes() == []
    assert held.checkpoints() == [HELD_AT]
    assert result_of(held.directory)["status"] == "interrupted"
    assert len(held.last_words()) == 1
    resume(held, num_processes=2)
    assert not list(differences(whole_of_two, held.directory))


@pytest.mark.slow  # half a minute, as every run on two processes here
def test_death_of_the_launcher_of_two_processes_saves_the_step(hold: Hold) -> None:
    held = hold(num_processes=2)
    held.started.process.kill()
    held.started.end()
    assert len(held.processes()) == 2
    held.let_go()
    held.wait_until_gone()
    assert held.checkpoints() == [HELD_AT]
    assert re.search("SIGTERM .*step 3 ", str(result_of(held.directory)["error"]))


def test_signal_to_one_of_two_processes_ends_both(hold: Hold, resume: Resume, whole_of_two: Path) -> None:
    held = hold(num_processes=2)
    os.kill(held.pid(1), signal.SIGTERM)
    held.let_go()
    assert held.started.end() != 0
    assert held.processes() == []
    assert held.checkpoints() == [HELD_AT]
    assert result_of(held.directory)["status"] == "interrupted"
    resume(held, num_processes=2)
    assert not list(differences(whole_of_two, held.directory))


def test_sigusr1_passes_through_a_launcher_that_is_told_to(hold: Hold) -> None:
    # TORCHELASTIC_SIGNALS_TO_HANDLE, which torch's documentation names, is overwritten by the flag's own value.
    passed_on = {"PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"}
    held = hold(num_processes=2, environment=passed_on)
    os.kill(held.started.process.pid, signal.SIGUSR1)
    held.wait_until_heard(signal.SIGUSR1)
    held.let_go()
    assert held.started.end() != 0
    assert held.processes() == []
    assert held.checkpoints() == [HELD_AT]
    assert re.search("SIGUSR1 .*step 3 ", str(result_of(held.directory)["error"]))


def test_second_signal_stops_at_once(hold: Hold) -> None:
    held = hold()
    os.kill(held.pid(0), signal.SIGTERM)
    held.wait_until_heard(signal.SIGTERM)
    os.kill(held.pid(0), signal.SIGTERM)
    assert held.started.end() == -signal.SIGTERM  # though nobody let it go
    assert held.checkpoints() == []


def test_second_signal_to_the_launcher_stops_two_processes_at_once(hold: Hold) -> None:
    held = hold(num_processes=2)
    os.kill(held.started.process.pid, signal.SIGTERM)
    held.wait_until_heard(signal.SIGTERM)
    time.sleep(ECHO_SECONDS + 0.5)  # before, it would be taken for the first one
    os.kill(held.started.process.pid, signal.SIGTERM)
    assert held.started.end() != 0
    held.wait_until_gone(5)
    assert held.checkpoints() == []


@pytest.mark.slow  # half a minute, as every run on two processes here
def test_signal_that_the_launcher_repeats_is_no_second_one(hold: Hold) -> None:
    held = hold(num_processes=2)
    for rank in (0, 1):  # Slurm's scancel reaches the processes and, at about the same time, their launcher
        os.kill(held.pid(rank), signal.SIGTERM)
    os.kill(held.started.process.pid, signal.SIGTERM)
    held.started.wait_for("the launcher's", lambda: held.started.printed().count("closing signal SIGTERM") == 2)
    held.let_go()
    assert held.started.end() != 0
    assert held.checkpoints() == [HELD_AT]


def test_death_of_one_of_two_processes_ends_the_command(hold: Hold) -> None:
    held = hold(num_processes=2)
    os.kill(held.pid(1), signal.SIGKILL)
    held.let_go()
    assert held.started.end() != 0
    assert held.processes() == []
    assert held.checkpoints() == []


def test_launcher_starts_a_run_again_from_its_checkpoint(hold: Hold, whole_of_two: Path, tmp_path: Path) -> None:
    # Nobody named it: both times it has to find the same directory.
    held = hold("--save_every", "2st", num_processes=2, launcher_options=["--max_restarts", "1"], where=())
    os.kill(held.pid(1), signal.SIGKILL)
    held.let_go()
    assert held.started.end() == 0, held.started.printed()
    (directory,) = (tmp_path / "runs").iterdir()
    assert result_of(directory)["resumed_from"] == "step-00000002"
    assert not list(differences(whole_of_two, directory))


def test_launcher_starts_a_run_without_a_checkpoint_afresh(hold: Hold, whole_of_two: Path) -> None:
    held = hold(num_processes=2, launcher_options=["--max_restarts", "1"])
    os.kill(held.pid(0), signal.SIGKILL)
    held.let_go()
    assert held.started.end() == 0, held.started.printed()
    assert result_of(held.directory)["resumed_from"] is None
    assert not list(differences(whole_of_two, held.directory))


@pytest.mark.parametrize("num_processes", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_signal_in_the_last_evaluation_costs_no_step(
    hold: Hold, resume: Resume, whole: Path, whole_of_two: Path, num_processes: int
) -> None:
    held = hold("--hook.hold.step", "0", num_processes=num_processes)
    os.kill(held.started.process.pid, signal.SIGTERM)
    held.wait_until_heard(signal.SIGTERM)
    held.let_go()
    assert held.started.end() == (1 if num_processes else 143)
    assert held.processes() == []
    assert result_of(held.directory)["status"] == "interrupted"
    assert held.checkpoints() == [LAST]
    metrics = (held.directory / "metrics.jsonl").read_bytes()
    assert LAST in resume(held, "--hook.hold.step", "0", num_processes=num_processes)
    # Byte for byte, speeds included: no line was written again.
    assert (held.directory / "metrics.jsonl").read_bytes() == metrics
    assert not list(differences(whole_of_two if num_processes else whole, held.directory))
