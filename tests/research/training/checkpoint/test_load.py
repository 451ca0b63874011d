"""A run loads a checkpoint that matches its settings and hooks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from research import Hook
from research.system.manifest import MANIFEST
from research.training.checkpoint.find import CheckpointError
from research.training.checkpoint.load import delete_later_checkpoints, refuse_short_fork
from research.training.checkpoint.save import save_checkpoint
from research.training.digests import hash_run_state
from research.training.loop import train
from tests.builders.hostile import Trap
from tests.research.conftest import StartRun


class Counts(Hook):
    """Counts steps."""

    def __init__(self) -> None:
        self.count = 0

    def after_step(self, run: Any) -> None:
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


class DifferentHook(Counts):
    """A hook of a different class, which also has a state."""


def test_load_checkpoint_restores_every_part_of_the_run(start_run: StartRun) -> None:
    hooks = [Counts(), Counts()]
    run = start_run(hooks, max_steps=2)
    train(run)
    hooks[1].count = 7
    torch.rand(3)  # changes the random state, which is restored too
    checkpoint = save_checkpoint(run, keep=1)
    expected = hash_run_state(run)
    new_hooks = [Counts(), Counts()]
    loaded = start_run(new_hooks, max_steps=2, resume=checkpoint)
    actual = hash_run_state(loaded)
    assert {name for name in expected if actual.get(name) != expected[name]} == set()
    assert [hook.count for hook in new_hooks] == [2, 7]  # the first and the second hook of the class
    assert loaded.totals.num_skipped == run.totals.num_skipped
    assert loaded.totals.train_seconds == run.totals.train_seconds
    assert loaded.start is not None
    assert loaded.start.checkpoint == checkpoint


def test_load_checkpoint_refuses_changed_settings_and_hooks(start_run: StartRun) -> None:
    run = start_run([Counts()])
    run.clock.advance(num_examples=8)
    checkpoint = save_checkpoint(run, keep=1)
    with pytest.raises(CheckpointError, match=r"seed .*0.*3.*--fork"):
        start_run([Counts()], seed=3, resume=checkpoint)
    for hooks in ([], [DifferentHook()], [Counts(), DifferentHook()]):
        with pytest.raises(CheckpointError, match=rf"{checkpoint} .*\bCounts\b"):
            start_run(hooks, resume=checkpoint)
    start_run([Counts(), Hook()], resume=checkpoint)  # a hook without state may be added


def test_load_checkpoint_refuses_truncated_files_and_pickled_code(start_run: StartRun, tmp_path: Path) -> None:
    checkpoint, executed_marker = save_checkpoint(start_run([Counts()]), keep=1), tmp_path / "executed_marker"
    files = sorted(path for path in checkpoint.iterdir() if path.suffix in (".json", ".safetensors"))
    assert len(files) == 7
    for path in files:
        if path.name == MANIFEST:  # not read by this function
            continue
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=f"{checkpoint}"):
            start_run([Counts()], resume=checkpoint)
        torch.save([Trap(executed_marker)], path)
        with pytest.raises(CheckpointError, match=f"{checkpoint}"):
            start_run([Counts()], resume=checkpoint)
        assert not executed_marker.exists()
        torch.load(io.BytesIO(path.read_bytes()), weights_only=False)
        executed_marker.unlink()  # the trap works: unpickling the file runs its code
        path.write_bytes(content)


def test_delete_later_checkpoints_keeps_the_earlier_ones(start_run: StartRun) -> None:
    run = start_run()
    for step in (2, 4, 6):
        (run.directory / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    for _ in range(4):
        run.clock.advance(num_examples=8)
    delete_later_checkpoints(run)
    assert sorted(path.name for path in (run.directory / "checkpoints").iterdir()) == ["step-00000002", "step-00000004"]


def test_fork_without_steps_left_is_refused() -> None:
    refuse_short_fork(step=3, total_steps=4)
    with pytest.raises(CheckpointError, match=r"\b4 steps .*step 4\b.*--max_steps"):
        refuse_short_fork(step=4, total_steps=4)
