"""Conditions of `when:`: when they come true, and the runs that wait for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from research import Hook, register_edit
from research.edits.apply import apply_edit
from research.edits.base import Editable, EditError
from research.edits.conditions import parse_condition
from research.records.results import weights_sha256
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from research.training.run import TrainingRun
from tests.conftest import write_tiny_encoder
from tests.research.conftest import StartRun

CASES: list[tuple[str, list[float], int | None]] = [
    # condition, values of its metric, and after which of them (from 1) it comes true
    ("plateau(validation/loss, 2)", [3.0, 2.0, 2.5, 2.1, 1.0], 4),
    ("plateau(validation/loss, 2)", [3.0, 2.0, 2.5, 1.9, 2.0], None),
    ("plateau(validation/accuracy, 1)", [0.5, 0.6, 0.6], 3),
    ("above(validation/accuracy, 0.7)", [0.5, 0.7, 0.71], 3),
    ("below(validation/loss, 0.5)", [0.6, 0.4, 0.6], 2),
]


@pytest.mark.parametrize(("text", "values", "expected"), CASES)
def test_condition_comes_true_once(text: str, values: list[float], expected: int | None) -> None:
    condition = parse_condition(text)
    assert str(condition) == text
    heard = [condition.hear({condition.metric: value}) for value in values]
    assert [number for number, is_true in enumerate(heard, start=1) if is_true] == ([expected] if expected else [])
    if expected:
        assert not any(condition.hear({condition.metric: value}) for value in values), "it came true a second time"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sometimes", "Cannot read the condition"),
        ("plato(validation/loss, 2)", "Did you mean 'plateau'"),
        ("plateau(test/loss, 2)", "Cannot read the condition"),
        ("plateau(validation/loss, -1)", "Expected a whole number of evaluations above 0"),
        ("plateau(validation/loss, 2.5)", "Expected a whole number of evaluations above 0"),
        ("above(validation/loss, 1.2.3)", "Expected a number"),
    ],
)
def test_condition_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_condition(text)


@pytest.mark.parametrize("cut", [2, 3, 5])
def test_edit_waits_for_its_condition_also_after_a_resume(start_run: StartRun, cut: int) -> None:
    class Save(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == cut and run.start is None:
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    settings = {
        "max_steps": 8,
        "evaluate_every": "1st",
        "lr": 1e-12,  # the loss stays, so that the plateau is there after a first and three more evaluations
        "head_lr": 1e-12,
        "timeline": [{"when": "plateau(validation/accuracy, 3)", "freeze": "encoder", "set_lr": {"lr": 0.1}}],
    }
    whole = start_run([Save()], **settings)
    train(whole)
    assert [(record.step, record.name, record.asked_by) for record in whole.journal] == [
        (4, "freeze", "timeline entry 1"),
        (4, "set_lr", "timeline entry 1"),
    ]
    resumed = start_run([Save()], resume=whole.directory / "checkpoints" / f"step-{cut:08d}", **settings)
    train(resumed)
    assert resumed.journal == whole.journal
    assert weights_sha256(resumed.encoder_with_head) == weights_sha256(whole.encoder_with_head)


def test_condition_on_the_loss_begins_anew_with_another_objective(start_run: StartRun) -> None:
    settings = {"max_steps": 8, "evaluate_every": "1st", "lr": 1e-12, "head_lr": 1e-12}
    timeline = [{"at": "3st", "set_objective": "focal"}, {"when": "plateau(validation/loss, 3)", "freeze": "encoder"}]
    run = start_run(timeline=timeline, **settings)
    train(run)
    # Evaluated after steps 1 to 3 as cross entropy; then anew, the first after step 4 and three more.
    assert [record.step for record in run.journal if record.name == "freeze"] == [7]


@pytest.mark.parametrize(
    ("every", "when", "message"),
    [
        (None, "above(validation/loss, 0)", "needs 1 evaluations before the last step.*there are 0"),
        ("4st", "plateau(validation/loss, 1)", "needs 2 evaluations before the last step.*there are 1"),
    ],
)
def test_condition_that_can_never_come_true_is_refused(
    start_run: StartRun, every: str | None, when: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        start_run(max_steps=8, evaluate_every=every, timeline=[{"when": when, "freeze": "encoder"}])


PLANNED = [{"at": "2st", "add_lora": {"r": 2}}, {"at": "5st", "merge_lora": True}]
WAITING = {"when": "below(validation/loss, 9)", "add_lora": {"r": 4}, "set_dropout": 0.2}
"""Can be applied after step 5 only: before, the adapters of step 2 are there, or could not be added any more."""


def test_conditional_edit_that_cannot_always_be_applied_needs_a_choice(start_run: StartRun) -> None:
    message = r"timeline entry 3: below\(.*There are adapters already.*on_conflict: skip"
    with pytest.raises(EditError, match=message):
        start_run(max_steps=8, evaluate_every="2st", timeline=[*PLANNED, WAITING])
    with pytest.raises(ValueError, match="on_conflict is for entries with 'when'"):
        start_run(max_steps=8, timeline=[{"at": "4st", "freeze": "encoder", "on_conflict": "skip"}])
    with pytest.raises(ValueError, match="expected on_conflict to be skip or error, got 'ignore'"):
        start_run(max_steps=8, timeline=[{**WAITING, "on_conflict": "ignore"}])


def test_two_conditions_are_rehearsed_one_after_the_other(start_run: StartRun) -> None:
    twice = [{"when": f"below(validation/loss, {bound})", "add_lora": {"r": 2}} for bound in (8, 9)]
    with pytest.raises(EditError, match=r"timeline entry 1.*There are adapters already"):
        start_run(max_steps=8, evaluate_every="2st", timeline=twice)


DROPS = [{"when": f"below(validation/loss, {bound})", "drop_layers": "encoder.layer[-1]"} for bound in (7, 8, 9)]


@pytest.mark.parametrize(
    "timeline",
    [
        [*DROPS[:2], {"at": "7st", "freeze": "encoder.layer[-2]"}],  # a planned edit after two conditions
        DROPS,
    ],
)
def test_conditions_are_rehearsed_together_and_with_what_is_planned_after_them(
    start_run: StartRun, tmp_path: Path, timeline: list[dict[str, Any]]
) -> None:
    write_tiny_encoder(tmp_path / "three", num_layers=3)
    settings = {"encoder": str(tmp_path / "three"), "max_steps": 8, "evaluate_every": "2st"}
    start_run(**settings, timeline=timeline[1:])
    with pytest.raises(EditError, match=r"timeline entry 1.*on_conflict: skip"):
        start_run(**settings, timeline=timeline)


def test_rehearsal_of_a_repeated_edit_and_a_condition_takes_no_time_squared(
    start_run: StartRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []

    def count(run: Any, request: Any) -> Any:
        counted.append(request.name)
        return apply_edit(run, request)

    monkeypatch.setattr("research.edits.rehearsal.apply_edit", count)
    repeated = {"every": "1st", "scale_lr": {"factor": 0.99}}
    start_run(max_steps=100, evaluate_every="2st", timeline=[repeated, DROPS[0]])
    assert 100 < len(counted) < 500


def test_conditional_edit_that_can_never_be_applied_is_refused(start_run: StartRun) -> None:
    never = {"when": "below(validation/loss, 9)", "merge_lora": True, "on_conflict": "skip"}
    with pytest.raises(EditError, match="no adapters to merge"):
        start_run(max_steps=8, evaluate_every="2st", timeline=[never])


def test_conditional_edit_cannot_come_before_what_a_run_begins_with(start_run: StartRun) -> None:
    never = {"when": "below(validation/loss, 9)", "reinitialize": "encoder.layer[-1]", "on_conflict": "skip"}
    with pytest.raises(EditError, match="merge_lora before reinitialize"):
        start_run(max_steps=8, evaluate_every="2st", timeline=[{"at": "0%", "add_lora": {"r": 2}}, never])


@pytest.mark.parametrize(
    ("every", "step"),
    [
        (1, 1),  # the planned edit of step 2 would no longer be possible
        (2, 2),  # the planned edit of the same boundary comes first
        (3, 3),
    ],
)
def test_conflict_is_skipped_as_a_whole_and_journaled(start_run: StartRun, every: int, step: int) -> None:
    timeline = [*PLANNED, {**WAITING, "on_conflict": "skip"}]
    run = start_run(max_steps=8, evaluate_every=f"{every}st", timeline=timeline)
    train(run)
    skipped = [(record.step, record.name) for record in run.journal if record.skipped is not None]
    assert skipped == [(step, "add_lora"), (step, "set_dropout")]
    assert all("There are adapters already" in str(record.skipped) for record in run.journal if record.skipped)
    assert [record.step for record in run.journal if record.skipped is None] == [2, 5]


@register_edit("shrink_by_norm", changes_parameters=False)
def shrink_by_norm(run: Editable) -> None:
    """Read values, which a rehearsal does not have."""
    for parameter in run.encoder_with_head.head.parameters():
        parameter.data /= 1 + float(parameter.detach().norm())


def test_conflict_that_cannot_be_checked_is_skipped(start_run: StartRun) -> None:
    class Asks(Hook):
        def after_step(self, run: Run) -> None:
            if run.clock.step in (2, 3):  # right before the condition comes true, and at the same boundary
                run.edit.shrink_by_norm()

    for step in (3, 5):
        waiting = {"when": "below(validation/loss, 9)", "freeze": "encoder", "on_conflict": "skip"}
        run = start_run([Asks()], max_steps=6, evaluate_every=f"{step}st", timeline=[waiting])
        train(run)
        done = [(record.step, record.name, record.skipped is None) for record in run.journal]
        assert set(done) == {(2, "shrink_by_norm", True), (3, "shrink_by_norm", True), (step, "freeze", False)}
        (skipped,) = [record.skipped for record in run.journal if record.skipped is not None]
        assert "shrink_by_norm" in skipped


def test_conditional_edit_is_applied_where_it_can_be(start_run: StartRun) -> None:
    run = start_run(max_steps=8, evaluate_every="6st", timeline=[*PLANNED, {**WAITING, "on_conflict": "skip"}])
    train(run)
    assert [(record.step, record.name) for record in run.journal if record.skipped is None] == [
        (2, "add_lora"),
        (5, "merge_lora"),
        (6, "add_lora"),
        (6, "set_dropout"),
    ]


def test_conflict_ends_the_run_if_the_entry_says_so(start_run: StartRun) -> None:
    timeline = [*PLANNED, {**WAITING, "on_conflict": "error"}]
    with pytest.raises(EditError, match="There are adapters already"):
        train(start_run(max_steps=8, evaluate_every="3st", timeline=timeline))


def test_skipped_edit_is_not_done_by_a_resumed_run(start_run: StartRun) -> None:
    class Save(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 4 and run.start is None:
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    settings = {
        "max_steps": 8,
        "evaluate_every": "3st",
        "timeline": [*PLANNED, {**WAITING, "on_conflict": "skip"}],
    }
    whole = start_run([Save()], **settings)
    train(whole)
    resumed = start_run([Save()], resume=whole.directory / "checkpoints" / "step-00000004", **settings)
    train(resumed)
    assert resumed.journal == whole.journal
    assert weights_sha256(resumed.encoder_with_head) == weights_sha256(whole.encoder_with_head)
