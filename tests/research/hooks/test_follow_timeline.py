"""Edits of a timeline are requested when they are due; edits that were not applied by the end are reported."""

from __future__ import annotations

import json

import pytest

from research import Hook
from research.hooks.follow_timeline import FollowTimeline
from research.training.api import Run
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun

TIMELINE = [
    {"at": "0%", "freeze": "encoder.layer[0]"},
    {"every": "2st", "scale_lr": 0.5},  # every 2 steps
    {"when": "below(validation/loss, 100)", "set_dropout": {"modules": "head", "p": 0.3}},  # in the first evaluation
    {"when": "above(validation/accuracy, 2)", "unfreeze": "encoder"},  # never true
]


class StopAfter(Hook):
    """Stops the run after a given step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, run: Run) -> None:
        if run.clock.step == self.step:
            run.stop("enough")


def timeline_hook_of(run: TrainingRun) -> FollowTimeline:
    (hook,) = (hook for hook in run.hooks if isinstance(hook, FollowTimeline))
    return hook


def test_follow_timeline_requests_edits_at_their_steps_and_conditions(start_run: StartRun) -> None:
    run = start_run(timeline=TIMELINE, evaluate_every="1st", max_steps=6)
    train(run)
    assert [(record.step, record.name) for record in run.journal] == [
        (0, "freeze"),
        (1, "set_dropout"),
        (2, "scale_lr"),
        (4, "scale_lr"),
    ]


def test_follow_timeline_reports_edits_that_were_not_applied(
    start_run: StartRun, capsys: pytest.CaptureFixture[str]
) -> None:
    train(start_run([StopAfter(3)], timeline=TIMELINE, evaluate_every="1st", max_steps=6))
    due_later, never_due = [line for line in capsys.readouterr().out.splitlines() if "not applied" in line]
    assert all(part in due_later for part in ("step 3", "step 4", "scale_lr"))
    assert all(part in never_due for part in ("above(validation/accuracy, 2)", "unfreeze"))


def test_follow_timeline_restores_the_state_of_conditions(start_run: StartRun) -> None:
    run = start_run(timeline=TIMELINE, evaluate_every="1st", max_steps=3)
    train(run)
    state = json.loads(json.dumps(timeline_hook_of(run).state_dict()))
    assert len(state["conditions"]) == 2
    restored = timeline_hook_of(start_run(timeline=TIMELINE, evaluate_every="1st"))
    assert restored.state_dict() != state
    restored.load_state_dict(state)
    assert json.loads(json.dumps(restored.state_dict())) == state
    # The checkpoint has no state for a condition that a fork adds.
    fork = timeline_hook_of(start_run(timeline=[TIMELINE[3]], evaluate_every="1st"))
    before = fork.state_dict()
    fork.load_state_dict({"conditions": state["conditions"][:1]})
    assert fork.state_dict() == before
