"""Records of edits, and the objective that results from them."""

from __future__ import annotations

import dataclasses

from research.edits.records import EditRequest, Record, objective_after
from research.settings.config import Choice

RECORD = Record(
    number=1,
    step=4,
    epoch=0.5,
    name="set_objective",
    arguments={"objective": "focal"},
    requested_by="hook",
    trainable_parameters=[1000, 2000],
    parameters=[2000, 2000],
)


def test_record_returns_its_request_and_prints_only_changed_counts() -> None:
    request = EditRequest("set_objective", {"objective": "focal"}, "hook")
    assert RECORD.request == request
    assert str(request) == "set_objective(objective='focal')"
    assert "1,000 -> 2,000" in str(RECORD)
    assert "2,000 ->" not in str(dataclasses.replace(RECORD, trainable_parameters=[2000, 2000]))


def test_objective_after_uses_the_last_applied_edit() -> None:
    later = dataclasses.replace(RECORD, arguments={"objective": {"name": "focal", "gamma": 1.0}})
    skipped = dataclasses.replace(RECORD, skipped="why")
    unrelated = dataclasses.replace(RECORD, name="scale_lr", arguments={"factor": 0.5})
    assert objective_after("cross_entropy", [skipped, unrelated]) == Choice("cross_entropy")
    assert objective_after("cross_entropy", [RECORD, later, skipped, unrelated]) == Choice("focal", {"gamma": 1.0})
