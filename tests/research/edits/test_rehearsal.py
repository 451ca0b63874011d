"""Edits are rehearsed before training, at every step at which they may be applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from research.edits.apply import apply_edit
from research.edits.base import EditError
from tests.conftest import write_tiny_encoder
from tests.research.conftest import StartRun
from tests.research.edits.conflicts import CONDITIONAL, PLANNED


def test_rehearsal_requires_on_conflict_if_an_entry_cannot_always_be_applied(start_run: StartRun) -> None:
    with pytest.raises(EditError, match=r"timeline entry 3: below\(.*add_lora.*on_conflict: skip"):
        start_run(max_steps=8, evaluate_every="2st", timeline=[*PLANNED, CONDITIONAL])


def test_on_conflict_is_refused_without_a_condition_or_with_an_unknown_value(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match=r"on_conflict .*'when'"):
        start_run(max_steps=8, timeline=[{"at": "4st", "freeze": "encoder", "on_conflict": "skip"}])
    with pytest.raises(ValueError, match=r"on_conflict .*skip.*error.*'ignore'"):
        start_run(max_steps=8, timeline=[{**CONDITIONAL, "on_conflict": "ignore"}])


def test_rehearsal_applies_two_conditional_entries_one_after_the_other(start_run: StartRun) -> None:
    timeline = [{"when": f"below(validation/loss, {bound})", "add_lora": {"r": 2}} for bound in (8, 9)]
    with pytest.raises(EditError, match=r"timeline entry 1.*add_lora"):
        start_run(max_steps=8, evaluate_every="2st", timeline=timeline)


CONDITIONAL_DROPS = [
    {"when": f"below(validation/loss, {bound})", "drop_layers": "encoder.layer[-1]"} for bound in (7, 8, 9)
]
"""Conditional entries, each of which drops one layer."""


@pytest.mark.parametrize(
    "timeline",
    [
        # The planned edit needs two layers, but only one of three is left if both conditions come true.
        [*CONDITIONAL_DROPS[:2], {"at": "7st", "freeze": "encoder.layer[-2]"}],
        CONDITIONAL_DROPS,
    ],
)
def test_rehearsal_applies_conditional_entries_together_and_with_later_planned_edits(
    start_run: StartRun, tmp_path: Path, timeline: list[dict[str, Any]]
) -> None:
    write_tiny_encoder(tmp_path / "three", num_layers=3)
    settings = {"encoder": str(tmp_path / "three"), "max_steps": 8, "evaluate_every": "2st"}
    start_run(**settings, timeline=timeline[1:])  # accepted: without the first entry, enough layers remain
    with pytest.raises(EditError, match=r"timeline entry 1.*on_conflict: skip"):
        start_run(**settings, timeline=timeline)


def test_rehearsal_of_a_repeated_edit_is_not_quadratic(start_run: StartRun, monkeypatch: pytest.MonkeyPatch) -> None:
    applied_edits: list[str] = []

    def count_and_apply(run: Any, request: Any) -> Any:
        applied_edits.append(request.name)
        return apply_edit(run, request)

    monkeypatch.setattr("research.edits.rehearsal.apply_edit", count_and_apply)
    repeated = {"every": "1st", "scale_lr": {"factor": 0.99}}  # after every step
    start_run(max_steps=100, evaluate_every="2st", timeline=[repeated, CONDITIONAL_DROPS[0]])
    assert 100 < len(applied_edits) < 500  # about 5000 if all later edits were applied at each step


def test_rehearsal_refuses_an_entry_that_can_never_be_applied(start_run: StartRun) -> None:
    inapplicable = {"when": "below(validation/loss, 9)", "merge_lora": True, "on_conflict": "skip"}
    with pytest.raises(EditError, match="merge_lora"):
        start_run(max_steps=8, evaluate_every="2st", timeline=[inapplicable])


def test_rehearsal_applies_conditional_entries_only_after_the_edits_due_at_the_start(start_run: StartRun) -> None:
    inapplicable = {
        "when": "below(validation/loss, 9)",
        "reinitialize": "encoder.layer[-1]",
        "on_conflict": "skip",
    }
    with pytest.raises(EditError, match=r"reinitialize.*merge_adapters"):
        start_run(max_steps=8, evaluate_every="2st", timeline=[{"at": "0%", "add_lora": {"r": 2}}, inapplicable])
