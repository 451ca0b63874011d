"""Timelines are compressed in smoke runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from research.edits.records import EditRequest
from research.edits.timeline import parse_timeline, resolve_timeline
from research.settings.config import RunConfig
from research.settings.times import Clock


def test_resolve_timeline_keeps_the_order_of_edits_in_smoke_runs() -> None:
    timeline: list[dict[str, Any]] = [
        {"at": "60%", "merge_lora": True},
        {"at": "10%", "set_lr": 0.1},
        {"at": "20%", "set_weight_decay": 0.1},
        {"at": "0%", "set_dropout": 0.1},
        {"at": "40%", "add_lora": {"r": 2}},
    ]
    entries = parse_timeline(RunConfig(timeline=timeline))
    full_length = resolve_timeline(entries, Clock(steps_per_epoch=100, total_steps=100, batch_size=8))
    compressed = resolve_timeline(entries, Clock(steps_per_epoch=3, total_steps=3, batch_size=8), smoke=True)

    def names_in_order(due: Mapping[int, Sequence[EditRequest]]) -> list[str]:
        return [request.name for step in sorted(due) for request in due[step]]

    assert list(full_length.due) == [0, 10, 20, 40, 60]
    assert list(compressed.due) == [0, 1, 2]
    assert names_in_order(compressed.due) == names_in_order(full_length.due)
