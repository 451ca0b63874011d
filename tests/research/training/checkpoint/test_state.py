"""State, parent and weights are read from checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from research.edits.records import Parent, Record
from research.training.checkpoint.find import CheckpointError, StartCheckpoint
from research.training.checkpoint.save import save_checkpoint
from research.training.checkpoint.state import (
    STATE,
    find_parent,
    parent_at,
    read_records,
    read_state,
    read_weights_and_label_names,
)
from research.training.loop import train
from tests.research.conftest import StartRun

RECORD = Record(
    number=1,
    step=2,
    epoch=0.5,
    name="freeze",
    arguments={"modules": "encoder"},
    requested_by="timeline entry 1",
    trainable_parameters=[20, 5],
    parameters=[20, 20],
)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"step": 4}'])
def test_read_state_names_a_file_that_is_missing_or_contains_no_state(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / STATE).write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/state\.json"):
        read_state(tmp_path)


def test_read_records_returns_the_journal() -> None:
    journal = json.loads(json.dumps([vars(RECORD)]))
    assert read_records(journal) == (RECORD,)
    del journal[0]["clock"], journal[0]["skipped"]  # as in journals of earlier versions
    assert read_records(journal) == (RECORD,)


def test_parent_at_and_find_parent_return_the_parent_at_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "runs" / "a" / "checkpoints" / "step-00000002"
    checkpoint.mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.yaml").touch()
    state = {"clock": {"step": 2}, "journal": [vars(RECORD)], "parent": {"run": "b", "step": 1, "journal": []}}
    (checkpoint / STATE).write_text(json.dumps(state))
    expected = Parent("runs/a", step=2, journal=(RECORD,))
    assert parent_at("runs/a@2", checkpoint) == expected
    assert find_parent(StartCheckpoint(checkpoint, is_fork=True), "runs/a@2") == expected
    assert find_parent(StartCheckpoint(checkpoint), None) == Parent("b", step=1, journal=())  # for a resumed fork
    (checkpoint / STATE).write_text(json.dumps({**state, "parent": None}))
    assert find_parent(StartCheckpoint(checkpoint), None) is None


def test_read_weights_and_label_names_of_a_checkpoint(start_run: StartRun) -> None:
    run = start_run(max_steps=1)
    train(run)
    checkpoint = save_checkpoint(run, keep=1)
    weights, labels = read_weights_and_label_names(run.encoder_with_head, checkpoint)
    assert labels == ["negative", "positive"]
    expected_weights = run.encoder_with_head.state_dict()
    assert weights.keys() == expected_weights.keys()
    assert all(torch.equal(value, expected_weights[name]) for name, value in weights.items())
    (checkpoint / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"{checkpoint}: .*model\.safetensors"):
        read_weights_and_label_names(run.encoder_with_head, checkpoint)
