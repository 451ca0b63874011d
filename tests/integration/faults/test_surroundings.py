"""Resumes after a change of the clock, directory or number of threads, and second runs in the same directory."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from research.training.accelerator import default_num_threads
from tests.builders.faulty_runs import (
    CallAt,
    InterruptedRunError,
    RunResults,
    Train,
    checkpoint_names,
    expect_user_error,
    interrupt_run,
    read_run_results,
)
from tests.builders.run_files import result_of
from tests.conftest import ROOT, BackgroundCommand, Launch, Start

# Clock set back.


def test_newest_checkpoint_does_not_depend_on_the_clock(
    train: Train,
    directory: Path,
    uninterrupted: RunResults,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = time.time()
    for age, name in ((1_000, "step-00000002"), (2_000, "step-00000004")):
        checkpoint = directory / "checkpoints" / name
        for path in (*checkpoint.rglob("*"), checkpoint):
            os.utime(path, (now - age, now - age))
    real_time, ten_years = time.time, 10 * 365 * 86_400.0
    monkeypatch.setattr(time, "time", lambda: real_time() - ten_years)
    resumed = CallAt()
    train(directory, resumed, resume="auto")
    assert result_of(directory)["resumed_from"] == "step-00000004"
    assert resumed.trained_steps == [5, 6]
    assert read_run_results(directory) == uninterrupted
    assert checkpoint_names(directory) == ["step-00000004", "step-00000006"], (
        "expected the checkpoint with the lowest step to be deleted, not the one with the oldest date"
    )


# Second run in the same directory.


@pytest.fixture
def held(start: Start, flags: list[str], tmp_path: Path) -> tuple[BackgroundCommand, list[str], Path]:
    """A run that waits after step 3, the flags of its command line, and the file that makes it continue."""
    hold = tmp_path / "hold"
    hold.mkdir()
    plugin = [f"--plugin={(ROOT / 'tests' / 'plugins' / 'hold_at_step.py')}", "--hook=hold"]
    command = [*flags, *plugin, f"--output_dir={tmp_path / 'run'}"]
    first = start(command, environment={"HOLD": str(hold)})
    first.wait_for("step 3", (hold / "held-0").exists)
    return first, command, hold / "go"


def test_second_run_in_the_same_directory_is_refused_without_disturbing_the_first(
    launch: Launch,
    train: Train,
    held: tuple[BackgroundCommand, list[str], Path],
    uninterrupted: RunResults,
    tmp_path: Path,
) -> None:
    first, command, go = held
    line = f"Another run uses {tmp_path / 'run'}; wait until it ends, or choose another --output_dir."
    done = launch([*command, "--resume=auto"], check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {line}\n")
    assert expect_user_error(train, tmp_path / "run", overwrite=True) == line
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert str(tmp_path / "link") in expect_user_error(train, tmp_path / "link", resume="auto"), (
        "the link names the same directory"
    )
    go.touch()
    assert first.wait() == 0, first.read_output()
    assert read_run_results(tmp_path / "run") == uninterrupted


def test_killed_run_does_not_lock_its_directory(
    launch: Launch, held: tuple[BackgroundCommand, list[str], Path], uninterrupted: RunResults, tmp_path: Path
) -> None:
    first, command, _ = held
    os.kill(first.process.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert not (tmp_path / "run" / "result.json").exists()
    launch([*command, "--resume=auto"])
    assert result_of(tmp_path / "run")["resumed_from"] == "step-00000002"
    assert read_run_results(tmp_path / "run") == uninterrupted


# Moved directory.


@pytest.mark.parametrize("move", ["name", "parent", "working directory", "file system"])
def test_moved_run_resumes_in_its_new_directory(
    train: Train,
    directory: Path,
    uninterrupted: RunResults,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    move: str,
) -> None:
    (tmp_path / "archive" / "2024").mkdir(parents=True)
    targets = {
        "name": tmp_path / "other",
        "parent": tmp_path / "archive" / "2024" / "run",
        "working directory": tmp_path / "archive" / "runs" / "mine",
    }
    target = request.getfixturevalue("disk").path / "run" if move == "file system" else targets[move]
    target.parent.mkdir(exist_ok=True)
    shutil.move(directory, target)
    resumed = CallAt()
    if move == "working directory":
        monkeypatch.chdir(tmp_path / "archive")
        train(target, resumed, resume="auto", output_dir=None, name="mine")
    else:
        train(target, resumed, resume="auto")
    assert resumed.trained_steps == [5, 6]
    assert read_run_results(target) == uninterrupted
    assert not directory.exists(), "the run wrote to the old directory"


# Changed number of threads.


def test_changed_number_of_threads_is_reported_and_the_run_finishes(
    train: Train, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(directory, CallAt(), resume="auto", num_threads=2)
    assert re.search(r"num_threads was 1, now 2 .*rounded", capsys.readouterr().out)
    assert torch.get_num_threads() == 2
    assert (result["status"], result["steps"]) == ("finished", 6)


def test_number_of_threads_is_kept_if_not_set(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    num_threads = default_num_threads() + 1
    train(tmp_path / "uninterrupted", CallAt(), num_threads=num_threads)
    with pytest.raises(InterruptedRunError):
        train(tmp_path / "run", CallAt("after_step", 5, interrupt_run), num_threads=num_threads)
    capsys.readouterr()
    train(tmp_path / "run", CallAt(), resume="auto", num_threads=None)
    lines = [line for line in capsys.readouterr().out.splitlines() if "--num_threads" in line]
    assert re.search(rf"\b{num_threads} threads .*\b{default_num_threads()} \(--num_threads\)", lines[-1])
    assert not any("rounded" in line for line in lines), "the number of threads has not changed"
    assert torch.get_num_threads() == num_threads
    assert read_run_results(tmp_path / "run") == read_run_results(tmp_path / "uninterrupted")
