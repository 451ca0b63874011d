"""Applied and skipped edits are recorded in memory and in the journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from research.edits.records import EditRequest, Record
from research.model.parameters import count_parameters
from research.records.journal_file import read_journal
from research.settings.times import Clock
from research.training.applied_edits import AppliedEdits
from tests.messages import collect_messages
from tests.research.model.tiny_encoders import tiny_model

REQUESTS = [
    EditRequest("freeze", {"modules": "encoder"}, requested_by="timeline entry 1", entry="at 3st: freeze"),
    EditRequest("scale_lr", {"factor": 0.5}, requested_by="hook Requesting"),
]


@pytest.fixture
def applied_edits(tmp_path: Path) -> Iterator[AppliedEdits]:
    """The edits of a run with one process; they are written to the test's own folder."""
    AcceleratorState._reset_state()
    yield AppliedEdits(Accelerator(cpu=True), tmp_path)
    AcceleratorState._reset_state()


def make_record(number: int, name: str) -> Record:
    """Return the record of an edit after step 3, as if it had frozen 5 of 10 parameters."""
    return Record(
        number=number,
        step=3,
        epoch=0.5,
        name=name,
        arguments={},
        requested_by="hook Requesting",
        trainable_parameters=[10, 5],
        parameters=[10, 10],
    )


def test_record_sets_the_latest_edits_and_writes_the_journal(applied_edits: AppliedEdits, tmp_path: Path) -> None:
    first, second = [make_record(1, "freeze"), make_record(2, "set_objective")], [make_record(3, "unfreeze")]
    with collect_messages() as lines:
        applied_edits.record(first)
    for name, line in zip(("freeze", "set_objective"), lines, strict=True):
        assert f"after step 3: {name}(" in line
    assert (applied_edits.latest, applied_edits.changed_objective, read_journal(tmp_path)) == (first, True, first)
    applied_edits.record(second)
    assert (applied_edits.latest, applied_edits.changed_objective) == (second, False)
    assert read_journal(tmp_path) == first + second


def test_record_skipped_writes_edits_and_reason_into_the_journal(applied_edits: AppliedEdits, tmp_path: Path) -> None:
    model = tiny_model("bert")
    model.encoder.requires_grad_(False)
    trainable, total = count_parameters(model)
    assert trainable < total
    clock = Clock(steps_per_epoch=4, total_steps=8, batch_size=8)
    clock.advance(num_examples=8)
    applied_edits.journal.append(make_record(1, "unfreeze"))
    with collect_messages() as lines:
        applied_edits.record_skipped(REQUESTS, "it conflicts", clock, model)
    _, *skipped = applied_edits.journal
    assert applied_edits.latest == []
    assert [(each.number, each.step, each.epoch, each.request) for each in skipped] == [
        (2, 1, 0.25, REQUESTS[0]),
        (3, 1, 0.25, REQUESTS[1]),
    ]
    for skipped_record in skipped:
        assert (skipped_record.trainable_parameters, skipped_record.parameters) == ([trainable] * 2, [total] * 2)
        assert skipped_record.skipped == "it conflicts"
    assert read_journal(tmp_path) == skipped
    assert ["it conflicts" in line for line in lines] == [True, True]


def test_replaying_ends_with_its_context_even_after_an_error(applied_edits: AppliedEdits) -> None:
    def fail() -> None:
        with applied_edits.replaying():
            assert applied_edits.is_replaying
            raise ValueError("test error")

    with pytest.raises(ValueError, match="test error"):
        fail()
    assert not applied_edits.is_replaying
