"""A checkpoint is complete, or it does not exist."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from research import Hook
from research.system.durable import StorageError
from research.system.manifest import find_damage
from research.training.checkpoint.find import CheckpointError, list_checkpoints
from research.training.checkpoint.save import save_checkpoint
from tests.research.conftest import StartRun


class Keeps(Hook):
    """A hook with a given state and two kept files, of which one never exists."""

    kept_files = ("mine.txt", "never.txt")

    def __init__(self, state: Any = 1) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state}


def test_save_checkpoint_writes_all_parts_and_a_manifest(start_run: StartRun) -> None:
    run = start_run([Keeps(torch.arange(3))])
    (run.directory / "mine.txt").write_text("kept")
    run.stop("enough")
    run.clock.advance(num_examples=8)
    checkpoint = save_checkpoint(run, keep=1)
    assert checkpoint == run.directory / "checkpoints" / "step-00000001"
    assert {str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file()} == {
        *("model.safetensors", "optimizer.json", "optimizer.safetensors", "process-0.json", "process-0.safetensors"),
        *("state.json", "manifest.json"),
        "kept/mine.txt",
    }
    assert find_damage(checkpoint) is None
    state = json.loads((checkpoint / "state.json").read_text())
    assert (state["clock"]["step"], state["requested_stop_reason"], state["journal"]) == (1, "enough", [])
    tensors = load_file(checkpoint / "process-0.safetensors")
    assert torch.equal(tensors[f"state/hooks/{state['hooks'].index('Keeps')}/state"], torch.arange(3))


def test_save_checkpoint_keeps_only_the_newest_checkpoints(start_run: StartRun) -> None:
    run = start_run()
    for _ in range(4):
        run.clock.advance(num_examples=8)
        save_checkpoint(run, keep=2)
    assert [path.name for path in list_checkpoints(run.directory)] == ["step-00000003", "step-00000004"]


def test_save_checkpoint_replaces_a_checkpoint_of_the_same_step(start_run: StartRun) -> None:
    run = start_run([Keeps()])
    checkpoint = save_checkpoint(run, keep=1)
    first = (checkpoint / "manifest.json").read_text()
    run.encoder_with_head.get_parameter("head.out.bias").data.add_(1)
    assert save_checkpoint(run, keep=1) == checkpoint
    assert (checkpoint / "manifest.json").read_text() != first
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_save_checkpoint_refuses_pickled_classes_and_keeps_earlier_checkpoints(start_run: StartRun) -> None:
    hook = Keeps()
    run = start_run([hook])
    save_checkpoint(run, keep=1)
    run.clock.advance(num_examples=8)
    hook.state = Path("somewhere")
    with pytest.raises(CheckpointError, match=r"hook Keeps; .*somewhere"):
        save_checkpoint(run, keep=1)
    assert [path.name for path in (run.directory / "checkpoints").iterdir()] == ["step-00000000"]


def test_save_checkpoint_keeps_earlier_checkpoints_if_the_disk_fails(
    start_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run()
    save_checkpoint(run, keep=1)
    run.clock.advance(num_examples=8)

    def raise_disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", raise_disk_full)
    with pytest.raises(StorageError, match=r"step-00000001: .*No space left on device"):
        save_checkpoint(run, keep=1)
    (kept,) = (run.directory / "checkpoints").iterdir()
    assert (kept.name, find_damage(kept)) == ("step-00000000", None)
