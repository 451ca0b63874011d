"""Hooks may ask for edits at any point; each is applied at the next boundary, or refused."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import pytest

from research import Hook
from research.edits.base import EDITS, Editable, EditError, register_edit, request_edit
from research.training.api import Run
from research.training.loop import train
from tests.messages import collected
from tests.research.conftest import StartRun

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
"""Points, and after which step an edit is applied that is asked for there first."""
REFUSED = ("after_edits", "end_of_step", "on_train_end")


def hook_that_asks(point: str, *, at_call: int = 1, **edits: Any) -> Hook:
    """Return a hook that asks at a point, the first time or a later one."""
    calls = 0

    def ask(self: Hook, run: Run, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at_call:
            for name, argument in edits.items():
                getattr(run.edit, name)(argument)

    hook: Hook = type("Asks", (Hook,), {point: ask})()
    return hook


@pytest.mark.parametrize("point", STEP_OF_EDIT)
def test_edit_is_applied_at_the_next_boundary(start_run: StartRun, point: str) -> None:
    run = start_run([hook_that_asks(point, freeze="encoder")], max_steps=8, evaluate_every="2st")
    train(run)
    assert [(record.step, record.name, record.asked_by) for record in run.journal] == [
        (STEP_OF_EDIT[point], "freeze", "hook Asks")
    ]
    assert run.journal[0].trainable_parameters[0] > run.journal[0].trainable_parameters[1] == 66


@pytest.mark.parametrize("point", REFUSED)
def test_edit_is_refused_where_a_checkpoint_would_miss_it(start_run: StartRun, point: str) -> None:
    run = start_run([hook_that_asks(point, freeze="encoder")], timeline=[{"at": "1st", "scale_lr": 0.5}])
    with pytest.raises(EditError, match=f"freeze.* was asked for in {point} .by hook Asks., where no edit may be"):
        train(run)


def test_edit_asked_for_after_the_last_boundary_is_said_to_be_left_out(
    start_run: StartRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run([hook_that_asks("after_evaluate", at_call=2, freeze="encoder")], evaluate_every="4st")
    train(run)
    run.evaluate("test")
    assert run.journal == []
    said = capsys.readouterr().out
    assert "The run is over: freeze(modules='encoder'), asked for by hook Asks, is not applied." in said


def test_several_edits_of_a_boundary_keep_their_order(start_run: StartRun) -> None:
    hook = hook_that_asks("after_step", replace_head="mean", reinitialize="encoder.layer[1]", scale_lr=0.5)
    run = start_run([hook], timeline=[{"at": "1st", "freeze": "encoder.embeddings"}])
    train(run)
    assert [record.name for record in run.journal] == ["freeze", "replace_head", "reinitialize", "scale_lr"]
    assert [record.asked_by for record in run.journal] == ["timeline entry 1", *["hook Asks"] * 3]


def test_layers_that_only_change_their_numbers_keep_their_optimizer_state(start_run: StartRun) -> None:
    hook = hook_that_asks("after_step", at_call=3, reinitialize="encoder.layer[1]", drop_layers="encoder.layer[0]")
    run = start_run([hook], max_steps=3)
    train(run)
    state = {name for name, p in run.encoder_with_head.named_parameters() if p in run.optimizer.state}
    assert not any(".layer.0." in name for name in state), "it began anew"
    assert any(name.startswith("head.") for name in state)


@pytest.mark.parametrize(
    ("point", "ask", "message"),
    [
        ("after_step", lambda run: run.skip_step("no"), "can be skipped in before_step, not in after_step"),
        ("before_step", lambda run: run.backward(None), "A second pass runs in after_backward, not in before_step"),
        ("after_step", lambda run: run.log({"loss": 1.0}), "'loss' is logged anyway"),
        ("after_step", lambda run: run.log({"learning_rate/x": 1.0}), "is logged anyway"),
        ("after_step", lambda run: run.log({"mine": "much"}), "Expected a number to log as 'mine', got 'much'"),
        ("after_step", lambda run: run.edit.freeze([]), None),
    ],
)
def test_what_cannot_be_asked_is_refused(start_run: StartRun, point: str, ask: Any, message: str | None) -> None:
    hook: Hook = type("Asks", (Hook,), {point: lambda self, run, *arguments: ask(run)})()
    with pytest.raises(ValueError, match=message or "got an empty list"):
        train(start_run([hook]))


def test_random_numbers_are_shared_and_leave_the_training_stream_alone(start_run: StartRun) -> None:
    import torch

    drawn: list[torch.Tensor] = []

    class Draws(Hook):
        def before_step(self, run: Run) -> None:
            before = torch.get_rng_state()
            with run.shared_random_numbers():
                drawn.append(torch.rand(3))
            assert torch.equal(torch.get_rng_state(), before)

    train(start_run([Draws()], max_steps=2))
    torch.manual_seed(1234)
    train(start_run([Draws()], max_steps=2))
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])


def test_edit_is_refused_in_an_evaluation_that_begins_there_too(start_run: StartRun) -> None:
    class Evaluates(Hook):
        def end_of_step(self, run: Run) -> None:
            run.evaluate("validation")

    waiting = [{"when": "above(validation/loss, 0)", "freeze": "encoder"}]
    run = start_run([Evaluates()], evaluate_every="3st", timeline=waiting)
    with pytest.raises(EditError, match=r"asked for in end_of_step .by timeline entry 1., where no edit may be"):
        train(run)


def test_what_never_came_is_said(start_run: StartRun) -> None:
    class Stops(Hook):
        def after_step(self, run: Run) -> None:
            run.stop("enough")

    timeline = [
        {"at": "1st", "scale_lr": 0.5},
        {"at": "100%", "freeze": "encoder"},
        {"when": "above(validation/loss, 99)", "set_dropout": 0.2},
    ]
    run = start_run([Stops()], max_steps=8, evaluate_every="2st", timeline=timeline)
    with collected() as said:
        train(run)
    assert [record.name for record in run.journal] == ["scale_lr"]
    assert "stopped after step 1 of 8: enough" in said
    assert "The run ended after step 1, before step 8: freeze(modules='encoder') is not applied." in said
    assert "above(validation/loss, 99) never came true: set_dropout(p=0.2, modules='all') is not applied." in said


@pytest.fixture
def own_edits() -> Iterator[None]:
    """Edits that are registered in a test are forgotten after it."""
    with EDITS.isolated():
        yield


class Kind(enum.Enum):
    NEW = "new"


@pytest.mark.usefixtures("own_edits")
@pytest.mark.parametrize(("annotation", "value"), [(Kind, "NEW"), (tuple[int, int], [1, 2])])
def test_argument_that_a_resumed_run_would_not_get_is_refused(annotation: Any, value: Any) -> None:
    def mine(run: Editable, size: Any) -> None:
        raise AssertionError

    mine.__annotations__["size"] = annotation
    register_edit("mine")(mine)
    with pytest.raises(
        ValueError, match=r"The edit 'mine' would get .* as its argument size, which the journal cannot"
    ):
        request_edit("mine", value, "the test")


@pytest.mark.usefixtures("own_edits")
def test_edit_may_take_the_run_by_position_only() -> None:
    def mine(run: Editable, /, size: int = 3) -> None:
        raise AssertionError

    register_edit("mine")(mine)
    assert request_edit("mine", 4, "the test").arguments == {"size": 4}
