"""Resumes after a change of the clock, directory or number of threads, and second runs in the same directory.

A run that started with the hook `CallAt` must be resumed with it; `CallAt()` only records the trained steps.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple

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
    interrupted_copy: Path,
    uninterrupted_results: RunResults,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    for age, name in ((1_000, "step-00000002"), (2_000, "step-00000004")):
        checkpoint = interrupted_copy / "checkpoints" / name
        for path in (*checkpoint.rglob("*"), checkpoint):
            os.utime(path, (now - age, now - age))
    real_time, ten_years = time.time, 10 * 365 * 86_400.0
    monkeypatch.setattr(time, "time", lambda: real_time() - ten_years)
    resumed = CallAt()
    train(interrupted_copy, resumed, resume="auto")
    assert result_of(interrupted_copy)["resumed_from"] == "step-00000004"
    assert resumed.trained_steps == [5, 6]
    assert read_run_results(interrupted_copy) == uninterrupted_results
    assert checkpoint_names(interrupted_copy) == ["step-00000004", "step-00000006"], (
        "expected the checkpoint with the lowest step to be deleted, not the one with the oldest date"
    )


# Second run in the same directory.


class WaitingRun(NamedTuple):
    """A run that waits after step 3."""

    command: BackgroundCommand
    flags: list[str]
    """Flags of its command line."""
    go_file: Path
    """The run continues once this file exists."""


@pytest.fixture
def waiting_run(start: Start, flags: list[str], tmp_path: Path) -> WaitingRun:
    folder = tmp_path / "hold"
    folder.mkdir()
    plugin = [f"--plugin={(ROOT / 'tests' / 'plugins' / 'hold_at_step.py')}", "--hook=hold"]
    all_flags = [*flags, *plugin, f"--output_dir={tmp_path / 'run'}"]
    command = start(all_flags, environment={"HOLD": str(folder)})
    command.wait_for("step 3", (folder / "held-0").exists)
    return WaitingRun(command, all_flags, folder / "go")


def test_second_run_in_the_same_directory_is_refused_without_disturbing_the_first(
    launch: Launch,
    train: Train,
    waiting_run: WaitingRun,
    uninterrupted_results: RunResults,
    tmp_path: Path,
) -> None:
    line = f"Another run uses {tmp_path / 'run'}; wait until it ends, or choose another --output_dir."
    done = launch([*waiting_run.flags, "--resume=auto"], check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {line}\n")
    assert expect_user_error(train, tmp_path / "run", overwrite=True) == line.replace("--output_dir", "output_dir")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert str(tmp_path / "link") in expect_user_error(train, tmp_path / "link", resume="auto"), (
        "the link names the same directory"
    )
    waiting_run.go_file.touch()
    assert waiting_run.command.wait() == 0, waiting_run.command.read_output()
    assert read_run_results(tmp_path / "run") == uninterrupted_results


def test_killed_run_does_not_lock_its_directory(
    launch: Launch, waiting_run: WaitingRun, uninterrupted_results: RunResults, tmp_path: Path
) -> None:
    os.kill(waiting_run.command.process.pid, signal.SIGKILL)
    assert waiting_run.command.wait() == -signal.SIGKILL
    assert not (tmp_path / "run" / "result.json").exists()
    launch([*waiting_run.flags, "--resume=auto"])
    assert result_of(tmp_path / "run")["resumed_from"] == "step-00000002"
    assert read_run_results(tmp_path / "run") == uninterrupted_results


# Moved directory.


@pytest.mark.parametrize("move", ["name", "parent", "working directory", "file system"])
def test_moved_run_resumes_in_its_new_directory(
    train: Train,
    interrupted_copy: Path,
    uninterrupted_results: RunResults,
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
    shutil.move(interrupted_copy, target)
    resumed = CallAt()
    if move == "working directory":
        monkeypatch.chdir(tmp_path / "archive")
        train(target, resumed, resume="auto", output_dir=None, name="mine")
    else:
        train(target, resumed, resume="auto")
    assert resumed.trained_steps == [5, 6]
    assert read_run_results(target) == uninterrupted_results
    assert not interrupted_copy.exists(), "the run wrote to the old directory"


# Changed number of threads.


def test_changed_number_of_threads_is_reported_and_the_run_finishes(
    train: Train, interrupted_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(interrupted_copy, CallAt(), resume="auto", num_threads=2)
    assert re.search(r"num_threads was 1, now 2 .*rounded", capsys.readouterr().out)
    assert torch.get_num_threads() == 2
    assert (result["status"], result["steps"]) == ("finished", 6)


def test_resume_keeps_the_number_of_threads_if_it_is_not_set(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    num_threads = default_num_threads() + 1
    train(tmp_path / "uninterrupted", CallAt(), num_threads=num_threads)
    with pytest.raises(InterruptedRunError):
        train(tmp_path / "run", CallAt("after_step", 5, interrupt_run), num_threads=num_threads)
    capsys.readouterr()
    train(tmp_path / "run", CallAt(), resume="auto", num_threads=None)
    lines = [line for line in capsys.readouterr().out.splitlines() if "threads, now" in line]
    assert re.search(rf"threads, now {default_num_threads()}; using {num_threads} as before \(num_threads\)", lines[-1])
    assert not any("rounded" in line for line in lines), "the number of threads has not changed"
    assert torch.get_num_threads() == num_threads
    assert read_run_results(tmp_path / "run") == read_run_results(tmp_path / "uninterrupted")
