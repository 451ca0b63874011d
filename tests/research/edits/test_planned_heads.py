"""`find_planned_heads` returns the head at the start, after each planned step, and after each conditional entry."""

from __future__ import annotations

from typing import Any

import pytest

from research.edits.planned_heads import find_planned_heads
from research.edits.timeline import parse_timeline, resolve_timeline
from research.settings.config import RunConfig
from tests.research.edits.conftest import StartRehearsal


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        ([], ["linear"]),
        ([{"at": "0%", "replace_head": "mean"}], ["mean"]),
        ([{"at": "3st", "replace_head": "mean"}, {"at": "6st", "freeze": "encoder"}], ["linear", "mean", "mean"]),
        ([{"when": "above(validation/f1, 1)", "replace_head": "max"}], ["linear", "max"]),
        (
            [{"at": "3st", "replace_head": "mean"}, {"when": "above(validation/f1, 1)", "merge_lora": True}],
            ["linear", "mean"],  # the conditional entry can never be applied
        ),
        (
            [
                {"at": "3st", "add_lora": {}},
                {"when": "above(validation/f1, 1)", "merge_lora": True, "replace_head": "max"},
            ],
            ["linear", "linear", "max"],  # the conditional entry can be applied only after the planned edits
        ),
    ],
)
def test_find_planned_heads_includes_heads_after_planned_and_conditional_edits(
    start_rehearsal: StartRehearsal, timeline: list[dict[str, Any]], expected: list[str]
) -> None:
    run = start_rehearsal("bert")
    before = {name: parameter.requires_grad for name, parameter in run.encoder_with_head.named_parameters()}
    resolved = resolve_timeline(parse_timeline(RunConfig(timeline=timeline)), run.clock)
    assert [planned.name for planned in find_planned_heads(run, resolved)] == expected
    assert (run.clock.step, run.journal) == (0, [])
    assert {name: parameter.requires_grad for name, parameter in run.encoder_with_head.named_parameters()} == before
