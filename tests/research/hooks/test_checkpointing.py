"""Checkpoints are saved when they are due; --on_save_error determines what happens if saving fails."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from research.hooks.checkpointing import Checkpointing
from research.system.durable import StorageError
from research.training.loop import train
from research.training.run import TrainingRun
from tests.file_modes import enforce_file_modes
from tests.research.conftest import StartRun


def checkpoints_of(run: TrainingRun) -> list[str]:
    return sorted(path.name for path in (run.directory / "checkpoints").glob("step-*"))


@pytest.mark.parametrize(
    ("save_every", "keep", "expected"),
    [  # "2st": every 2 steps
        ("2st", 9, ["step-00000002", "step-00000003"]),
        ("1st", 1, ["step-00000003"]),
        (None, 9, []),
    ],
)
def test_checkpointing_saves_at_intervals_and_after_the_last_step_if_save_every_is_set(
    start_run: StartRun, save_every: str | None, keep: int, expected: list[str]
) -> None:
    run = start_run(save_every=save_every, keep=keep, max_steps=3)
    train(run)
    assert checkpoints_of(run) == expected


def test_checkpointing_saves_on_a_signal(start_run: StartRun) -> None:
    run, hook = start_run(), Checkpointing(every=None, keep=1, on_save_error="continue")
    hook.end_of_step(run)
    assert checkpoints_of(run) == []
    run.interruption.signal = signal.SIGTERM
    hook.end_of_step(run)
    assert checkpoints_of(run) == ["step-00000000"]


def create_read_only_folder(run: TrainingRun) -> Path:
    """Create the folder of checkpoints without permission to write, and return its path."""
    path = run.directory / "checkpoints"
    path.mkdir(mode=0o500)
    return path


def test_checkpointing_ends_the_run_if_saving_fails(start_run: StartRun) -> None:
    run = start_run(save_every="2st")
    path = create_read_only_folder(run)
    with enforce_file_modes(), pytest.raises(StorageError, match=str(path)):
        train(run)
    assert run.clock.step == 2


def test_on_save_error_continue_ignores_failed_saves_unless_a_signal_ends_the_run(
    start_run: StartRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run(save_every="2st", on_save_error="continue", max_steps=4)
    path = create_read_only_folder(run)
    with enforce_file_modes():
        train(run)
    assert run.clock.step == 4
    messages = [line for line in capsys.readouterr().out.splitlines() if "--on_save_error continue" in line]
    assert len(messages) == 2  # after steps 2 and 4
    assert all(str(path) in message for message in messages)
    run.interruption.signal = signal.SIGTERM
    with enforce_file_modes(), pytest.raises(StorageError):
        Checkpointing(every=None, keep=1, on_save_error="continue").end_of_step(run)
