"""Forks without a checkpoint, without steps left to train, or with edits that they never reach are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from research.settings.times import Clock
from research.studies.fork_points import check_fork_points
from research.studies.grid import StudySpec, expand
from research.system.manifest import write_manifest


def test_impossible_fork_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    checkpoint = tmp_path / "checkpoints" / "step-00000004"
    checkpoint.mkdir(parents=True)
    clock = Clock.of_run(num_examples=47, batch_size=8, epochs=1, max_steps=None)  # 6 steps
    clock.set_step(4)
    (checkpoint / "state.json").write_text(json.dumps({"clock": clock.state_dict(), "journal": []}))
    write_manifest(checkpoint)

    def check(**settings: Any) -> None:
        base = {"fork": f"{tmp_path}@4", "batch_size": 8, **settings}
        check_fork_points(expand(StudySpec(base=base, grid={"lr": [1e-5, 3e-5]})))

    check(timeline=[{"at": "4st", "freeze": "encoder"}])  # "4st": after step 4; raises no error
    for settings, expected in (
        ({"fork": f"{tmp_path}@5"}, "step 5"),  # the only checkpoint is of step 4
        ({"epochs": 0.5}, "3 steps"),  # ends before the checkpoint
        ({"max_steps": 4}, "4 steps"),  # ends at the checkpoint
        ({"timeline": [{"at": "2st", "freeze": "encoder"}]}, "2st"),  # before the checkpoint
        ({"timeline": [{"at": "9st", "freeze": "encoder"}]}, "9st"),  # after the end of training
    ):
        with pytest.raises(ValueError, match=rf"lr=1e-05, seed 0: .*{expected}"):
            check(**settings)
