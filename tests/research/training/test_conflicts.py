"""Conflicts of requested edits with pending and planned edits are found."""

from __future__ import annotations

import re
from typing import Any

import pytest

from research.edits.base import parse_request
from research.edits.records import EditRequest
from research.training.conflicts import find_conflict
from tests.research.conftest import StartRun


def make_requests(**values: Any) -> list[EditRequest]:
    """Return requests for edits; `values` are the edits' arguments, by the edits' names."""
    return [parse_request(name, value, "the test") for name, value in values.items()]


@pytest.mark.parametrize(
    ("pending", "requests", "planned", "reason"),
    [
        ([], make_requests(freeze="encoder"), [], None),
        ([], make_requests(add_lora={"r": 2}), [make_requests(merge_lora=True)], None),
        ([], make_requests(merge_lora=True), [], "merge_lora"),
        # The pending edit is applied first.
        (make_requests(add_lora={"r": 2}), make_requests(merge_lora=True), [], None),
        (make_requests(add_lora={"r": 2}), make_requests(add_lora={"r": 4}), [], r"add_lora.*r=4"),
        (
            [],
            make_requests(add_lora={"r": 4}),
            [make_requests(scale_lr=0.5), make_requests(add_lora={"r": 2})],
            r"add_lora.*r=2",
        ),
        # Nothing would be left to train.
        ([], make_requests(freeze="encoder"), [make_requests(freeze="head")], "freeze|train"),
    ],
)
def test_find_conflict_checks_pending_requested_and_planned_edits(
    start_run: StartRun,
    pending: list[EditRequest],
    requests: list[EditRequest],
    planned: list[list[EditRequest]],
    reason: str | None,
) -> None:
    run = start_run()
    names = [name for name, _ in run.encoder_with_head.named_parameters()]
    conflict = find_conflict(run, pending, requests, planned)
    assert (conflict is None) == (reason is None)
    if reason is not None:
        assert re.search(reason, str(conflict))
        assert "\n" not in str(conflict)
    assert [name for name, _ in run.encoder_with_head.named_parameters()] == names
    assert (run.journal, run.clock.step) == ([], 0)
