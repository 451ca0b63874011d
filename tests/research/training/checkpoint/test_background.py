"""Checkpoints that are written in the background contain the run as it was when the save began."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from research import Hook
from research.hooks.checkpointing import Checkpointing
from research.system.durable import StorageError
from research.training.checkpoint.background import BackgroundSaver
from research.training.checkpoint.find import CheckpointError, list_checkpoints
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from research.training.totals import Totals
from tests.limits import HANG_LIMIT
from tests.research.conftest import StartRun


class Keeps(Hook):
    """A hook with a state and kept files, all of which change."""

    kept_files = ("mine.txt", "folder")

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"tensor": torch.arange(3.0), "list": [1, [2]]}

    def state_dict(self) -> dict[str, Any]:
        return self.state


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event without which no other thread than the main thread writes a text file, as a save does first."""
    opened = threading.Event()
    write_text = Path.write_text

    def write_when_opened(path: Path, *arguments: Any, **options: Any) -> int:
        if threading.current_thread() is not threading.main_thread():
            assert opened.wait(HANG_LIMIT)
        return write_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", write_when_opened)
    return opened


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param({"shard": "fsdp2", "hook": ["ema"]}, marks=pytest.mark.sharding),
        pytest.param({"shard": "fsdp2", "hook": ["ema"], "shard_checkpoints": True}, marks=pytest.mark.sharding),
    ],
    ids=["whole", "split", "one file per process"],
)
def test_checkpoint_in_the_background_equals_a_synchronous_one(
    start_run: StartRun, gate: threading.Event, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Totals, "device_seconds", lambda totals, num_processes: 1.0)  # the clock goes on
    hook = Keeps()
    run = start_run([hook], max_steps=2, **settings)
    train(run)
    (run.directory / "mine.txt").write_text("before")
    (run.directory / "folder").mkdir()
    (run.directory / "folder" / "model").write_text("before")
    expected = contents(save_checkpoint(run, keep=1))

    saver = BackgroundSaver(run)
    saver.start(run, keep=1)
    # Everything changes before the thread writes its first file.
    with torch.no_grad():
        for parameter in run.encoder_with_head.parameters():
            parameter.add_(1)
            for value in run.optimizer.state[parameter].values():
                value.add_(1)
            for averages in (hook.averages for hook in run.hooks if hasattr(hook, "averages")):
                averages[parameter].add_(1)
    hook.state["tensor"].add_(1)
    hook.state["list"][1].append(3)
    run.optimizer.param_groups[0]["lr"] = 7.0
    run.clock.advance(num_examples=8)
    run.applied_edits.journal.clear()
    torch.rand(1)
    (run.directory / "mine.txt").write_text("after")
    (run.directory / "folder" / "new").write_text("after")
    (run.directory / "folder" / "new").replace(run.directory / "folder" / "model")
    gate.set()
    saver.wait()
    saver.close()
    (checkpoint,) = list_checkpoints(run.directory)
    assert contents(checkpoint) == expected


def test_training_goes_on_during_a_save(start_run: StartRun, gate: threading.Event) -> None:
    names_by_step: dict[int, list[str]] = {}

    class Watches(Hook):
        def after_step(self, run: Any) -> None:
            names_by_step[run.clock.step] = sorted(path.name for path in (run.directory / "checkpoints").glob("*"))
            if run.clock.step == 4:
                gate.set()

    run = start_run([Watches()], save_every="2st", save_in_background=True, max_steps=5, keep=9)
    train(run)
    assert names_by_step[4] == [".step-00000002.writing"]
    assert [path.name for path in list_checkpoints(run.directory)] == [f"step-0000000{step}" for step in (2, 4, 5)]


class Fails(Hook):
    """A hook that ends the run after step 3."""

    def after_step(self, run: Any) -> None:
        if run.clock.step == 3:
            raise RuntimeError("mine")


def test_pending_save_is_completed_if_an_error_ends_the_run(start_run: StartRun) -> None:
    run = start_run([Fails()], save_every="2st", save_in_background=True)
    with pytest.raises(RuntimeError, match="mine"):
        train(run)
    assert [path.name for path in (run.directory / "checkpoints").iterdir()] == ["step-00000002"]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other threads than the main thread fail to write anything to the disk."""

    def raise_disk_full(descriptor: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", raise_disk_full)


def test_error_that_ends_the_run_is_not_replaced_by_that_of_a_pending_save(
    start_run: StartRun, full_disk: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run([Fails()], save_every="2st", save_in_background=True)
    with pytest.raises(RuntimeError, match="mine"):
        train(run)
    assert "step-00000002: No space left on device" in capsys.readouterr().out


@pytest.mark.parametrize("on_save_error", ["stop", "continue"])
def test_error_in_the_background_is_raised_at_the_next_checkpoint(
    start_run: StartRun, full_disk: None, capsys: pytest.CaptureFixture[str], on_save_error: str
) -> None:
    settings: dict[str, Any] = {"save_every": "2st", "save_in_background": True, "on_save_error": on_save_error}
    run = start_run(max_steps=5, **settings)
    expected = r"Cannot write .*step-00000002: No space left on device \(.*MB needed, .* free\)\."
    if on_save_error == "stop":
        with pytest.raises(StorageError, match=expected):
            train(run)
        assert run.clock.step == 4
    else:
        train(run)
        assert run.clock.step == 5
        messages = [line for line in capsys.readouterr().out.splitlines() if "--on_save_error continue" in line]
        assert re.findall(r"step-\d+", "".join(messages)) == [f"step-0000000{step}" for step in (2, 4, 5)]
    assert list((run.directory / "checkpoints").iterdir()) == []


def test_states_that_cannot_be_stored_are_refused_at_once(start_run: StartRun) -> None:
    hook = Keeps()
    run = start_run([hook])
    saver = BackgroundSaver(run)
    hook.state["path"] = Path("somewhere")
    with pytest.raises(CheckpointError, match=r"hook Keeps; .*somewhere"):
        saver.start(run, keep=1)
    saver.close()


def test_last_checkpoint_and_that_of_a_signal_are_waited_for(start_run: StartRun) -> None:
    run, hook = start_run(), Checkpointing(every=1, keep=9, on_save_error="stop", in_background=True)
    hook.on_train_start(run)
    run.interruption.signal = 15
    hook.end_of_step(run)
    assert [path.name for path in (run.directory / "checkpoints").iterdir()] == ["step-00000000"]
    hook.on_train_end(run)
