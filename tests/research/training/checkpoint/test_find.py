"""Checkpoints are found in order, and refused if the settings have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.training.checkpoint.find import CheckpointError, list_checkpoints, refuse_changed_settings


def test_refuse_changed_settings_lists_the_changes_and_suggests_a_fork() -> None:
    checkpoint = Path("runs/a/checkpoints/step-00000400")
    with pytest.raises(CheckpointError, match=r"step-00000400 .*seed was 0, now 1; lr .*--fork runs/a@step-400\."):
        refuse_changed_settings(checkpoint, ["seed was 0, now 1", "lr was 1, now 2"], is_fork=False)
    refuse_changed_settings(checkpoint, [], is_fork=False)


def test_list_checkpoints_orders_by_step(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for name in ("step-00000012", "step-00000004", "step-100000000", "step-x", ".step-00000016.writing", "other"):
        (folder / name).mkdir(parents=True)
    names = [checkpoint.name for checkpoint in list_checkpoints(tmp_path)]
    assert names == ["step-00000004", "step-00000012", "step-100000000"]
    assert list_checkpoints(tmp_path / "missing") == []
