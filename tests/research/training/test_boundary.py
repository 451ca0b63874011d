"""Edits requested by hooks and conditions are applied at the next boundary, refused, or skipped."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from research import Hook, register_edit
from research.edits.base import Editable, EditError
from research.records.results import weights_sha256
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from research.training.run import TrainingRun
from tests.messages import collect_messages
from tests.research.conftest import StartRun
from tests.research.edits.conflicts import CONDITIONAL, PLANNED

STEP_OF_EDIT = {
    "on_train_start": 0,
    "on_epoch_start": 0,
    "on_batch": 1,
    "after_backward": 1,
    "before_step": 1,
    "after_step": 1,
    "before_evaluate": 2,
    "after_evaluate": 2,
    "on_epoch_end": 6,
}
"""The step after which an edit is applied, by the point at whose first call it is requested.

The run has 6 steps per epoch and an evaluation every 2 steps.
"""
POINTS_WITHOUT_EDITS = ("after_edits", "end_of_step", "on_train_end")
"""Points at which edits are refused. on_exception is missing, because it is not called in a run without errors."""


def make_requesting_hook(point: str, *, at_call: int = 1, **edits: Any) -> Hook:
    """Return a hook that requests edits at the first or a later call of a point.

    Args:
        point: the point.
        at_call: the call in which the hook requests the edits, from 1.
        **edits: the argument of each edit, by the edit's name.
    """
    num_calls = 0

    def call(self: Hook, run: Run, *arguments: Any) -> None:
        nonlocal num_calls
        num_calls += 1
        if num_calls == at_call:
            for name, argument in edits.items():
                getattr(run.edit, name)(argument)

    hook: Hook = type("Requesting", (Hook,), {point: call})()
    return hook


@pytest.mark.parametrize("point", STEP_OF_EDIT)
def test_edit_is_applied_at_the_next_boundary(start_run: StartRun, point: str) -> None:
    run = start_run([make_requesting_hook(point, freeze="encoder")], max_steps=8, evaluate_every="2st")
    train(run)
    assert [(record.step, record.name, record.requested_by) for record in run.journal] == [
        (STEP_OF_EDIT[point], "freeze", "hook Requesting")
    ]
    before, after = run.journal[0].trainable_parameters
    assert before > after == 66  # the number of parameters of the head


@pytest.mark.parametrize("point", POINTS_WITHOUT_EDITS)
def test_edit_is_refused_at_points_without_a_boundary_before_the_next_checkpoint(
    start_run: StartRun, point: str
) -> None:
    timeline = [{"at": "2st", "scale_lr": 0.5}]  # an edit, so that after_edits is called
    run = start_run([make_requesting_hook(point, freeze="encoder")], timeline=timeline)
    with pytest.raises(EditError, match=f"freeze.* {point} .*hook Requesting"):
        train(run)


def test_edit_requested_after_the_last_boundary_is_reported_as_not_applied(
    start_run: StartRun,
) -> None:
    # Training ends with the first evaluation; the second is the evaluation of the test split below.
    run = start_run([make_requesting_hook("after_evaluate", at_call=2, freeze="encoder")], evaluate_every="4st")
    train(run)
    with collect_messages() as lines:
        run.evaluate("test")
    assert run.journal == []
    assert len([line for line in lines if "freeze(modules='encoder')" in line and "hook Requesting" in line]) == 1


def test_edits_of_one_boundary_are_applied_in_order(start_run: StartRun) -> None:
    hook = make_requesting_hook("after_step", replace_head="mean", reinitialize="encoder.layer[1]", scale_lr=0.5)
    # The timeline and the hook request their edits at the same time: after step 1.
    run = start_run([hook], timeline=[{"at": "1st", "freeze": "encoder.embeddings"}])
    train(run)
    assert [record.name for record in run.journal] == ["freeze", "replace_head", "reinitialize", "scale_lr"]
    assert [record.requested_by for record in run.journal] == ["timeline entry 1", *["hook Requesting"] * 3]


def test_reinitialised_layer_loses_its_optimizer_state_even_if_it_is_renumbered(start_run: StartRun) -> None:
    hook = make_requesting_hook(
        "after_step", at_call=3, reinitialize="encoder.layer[1]", drop_layers="encoder.layer[0]"
    )
    run = start_run([hook], max_steps=3)
    train(run)
    parameters = run.encoder_with_head.named_parameters()
    names_with_state = {name for name, parameter in parameters if parameter in run.optimizer.state}
    # The reinitialised layer 1 is layer 0 now.
    assert not any(".layer.0." in name for name in names_with_state), "its optimizer state was kept"
    assert any(name.startswith("head.") for name in names_with_state)


@pytest.mark.parametrize(
    ("point", "call", "message"),
    [
        ("after_step", lambda run: run.skip_step("no"), "before_step.* after_step"),
        ("before_step", lambda run: run.backward(None), "after_backward.* before_step"),
        ("after_step", lambda run: run.log({"loss": 1.0}), "'loss'"),
        ("after_step", lambda run: run.log({"learning_rate/x": 1.0}), "'learning_rate/x'"),
        ("after_step", lambda run: run.log({"mine": "much"}), "'mine'.*'much'"),
        ("after_step", lambda run: run.edit.freeze([]), "empty list"),
    ],
)
def test_run_refuses_calls_at_the_wrong_point_or_with_invalid_arguments(
    start_run: StartRun, point: str, call: Any, message: str
) -> None:
    hook: Hook = type("Requesting", (Hook,), {point: lambda self, run, *arguments: call(run)})()
    with pytest.raises(ValueError, match=message):
        train(start_run([hook]))


def test_shared_random_numbers_are_reproducible_and_restore_the_random_state(start_run: StartRun) -> None:
    drawn: list[torch.Tensor] = []

    class DrawNumbers(Hook):
        def before_step(self, run: Run) -> None:
            state = torch.get_rng_state()
            with run.shared_random_numbers():
                drawn.append(torch.rand(3))
            assert torch.equal(torch.get_rng_state(), state)

    train(start_run([DrawNumbers()], max_steps=2))
    torch.manual_seed(1234)  # changes training's random state, on which the shared numbers do not depend
    train(start_run([DrawNumbers()], max_steps=2))
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])


def test_edit_is_refused_in_an_evaluation_that_end_of_step_starts(start_run: StartRun) -> None:
    class Evaluate(Hook):
        def end_of_step(self, run: Run) -> None:
            run.evaluate("validation")

    timeline = [{"when": "above(validation/loss, 0)", "freeze": "encoder"}]
    run = start_run([Evaluate()], evaluate_every="3st", timeline=timeline)
    with pytest.raises(EditError, match=r"end_of_step .*timeline entry 1"):
        train(run)


def test_edits_that_were_never_due_are_reported(start_run: StartRun) -> None:
    class Stop(Hook):
        def after_step(self, run: Run) -> None:
            run.stop("enough")

    timeline = [
        {"at": "1st", "scale_lr": 0.5},  # after step 1, before the run ends
        {"at": "100%", "freeze": "encoder"},
        {"when": "above(validation/loss, 99)", "set_dropout": 0.2},
    ]
    run = start_run([Stop()], max_steps=8, evaluate_every="2st", timeline=timeline)
    with collect_messages() as lines:
        train(run)
    assert [record.name for record in run.journal] == ["scale_lr"]
    for pattern in (
        r"step 1 of 8: enough",
        r"step 1, .*step 8 were not applied: freeze\(modules='encoder'\)",
        r"above\(validation/loss, 99\) .*: set_dropout\(p=0\.2, modules='all'\)",
    ):
        assert len([line for line in lines if re.search(pattern, line)]) == 1, pattern


@pytest.mark.parametrize(
    ("every", "step"),  # the condition comes true in the first evaluation; PLANNED has edits after steps 2 and 5
    [
        (1, 1),  # the planned edit after step 2 would no longer be possible
        (2, 2),  # the planned edit after the same step comes first
        (3, 3),  # the planned edit after step 2 has been applied
    ],
)
def test_conflicting_entry_is_skipped_as_a_whole_and_recorded_in_the_journal(
    start_run: StartRun, every: int, step: int
) -> None:
    timeline = [*PLANNED, {**CONDITIONAL, "on_conflict": "skip"}]
    run = start_run(max_steps=8, evaluate_every=f"{every}st", timeline=timeline)
    train(run)
    skipped = [(record.step, record.name) for record in run.journal if record.skipped is not None]
    assert skipped == [(step, "add_lora"), (step, "set_dropout")]
    assert all("add_lora" in str(record.skipped) for record in run.journal if record.skipped)
    assert [record.step for record in run.journal if record.skipped is None] == [2, 5]


@register_edit("shrink_by_norm", touches="values")
def shrink_by_norm(run: Editable) -> None:
    """Scale the head by values of its parameters, which do not exist in a rehearsal."""
    for parameter in run.encoder_with_head.head.parameters():
        parameter.data /= 1 + float(parameter.detach().norm())


def test_conflicting_entry_is_skipped_if_it_cannot_be_checked(start_run: StartRun) -> None:
    class Requesting(Hook):
        def after_step(self, run: Run) -> None:
            if run.clock.step in (2, 3):
                run.edit.shrink_by_norm()

    # After step 3, an edit that cannot be rehearsed is pending; after step 5, such edits are in the journal.
    for step in (3, 5):
        conditional = {"when": "below(validation/loss, 9)", "freeze": "encoder", "on_conflict": "skip"}
        run = start_run([Requesting()], max_steps=6, evaluate_every=f"{step}st", timeline=[conditional])
        train(run)
        outcomes = [(record.step, record.name, record.skipped is None) for record in run.journal]
        assert set(outcomes) == {(2, "shrink_by_norm", True), (3, "shrink_by_norm", True), (step, "freeze", False)}
        (skipped,) = [record.skipped for record in run.journal if record.skipped is not None]
        assert "shrink_by_norm" in skipped


def test_conditional_edit_is_applied_if_there_is_no_conflict(start_run: StartRun) -> None:
    run = start_run(max_steps=8, evaluate_every="6st", timeline=[*PLANNED, {**CONDITIONAL, "on_conflict": "skip"}])
    train(run)
    assert [(record.step, record.name) for record in run.journal if record.skipped is None] == [
        (2, "add_lora"),
        (5, "merge_lora"),
        (6, "add_lora"),
        (6, "set_dropout"),
    ]


def test_conflicting_entry_ends_the_run_with_on_conflict_error(start_run: StartRun) -> None:
    timeline = [*PLANNED, {**CONDITIONAL, "on_conflict": "error"}]
    with pytest.raises(EditError, match="add_lora"):
        train(start_run(max_steps=8, evaluate_every="3st", timeline=timeline))


def test_resumed_run_does_not_apply_a_skipped_edit(start_run: StartRun) -> None:
    class Save(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 4 and run.start is None:
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    settings = {
        "max_steps": 8,
        "evaluate_every": "3st",
        "timeline": [*PLANNED, {**CONDITIONAL, "on_conflict": "skip"}],
    }
    uninterrupted = start_run([Save()], **settings)
    train(uninterrupted)
    resumed = start_run([Save()], resume=uninterrupted.directory / "checkpoints" / "step-00000004", **settings)
    train(resumed)
    assert resumed.journal == uninterrupted.journal
    assert weights_sha256(resumed.encoder_with_head) == weights_sha256(uninterrupted.encoder_with_head)
