"""The objective and the maximum length of training inputs are changed."""

from __future__ import annotations

import pytest

from research.edits.base import EditError
from research.learning.objectives import Focal
from research.learning.schedules import Schedule
from research.settings.config import Choice
from tests.research.edits.conftest import StartRehearsal, edit


def test_set_objective_passes_options_to_the_objective(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    edit(run, set_objective={"name": "focal", "gamma": 3.0})
    assert isinstance(run.objective, Focal)
    assert run.objective.gamma == 3.0
    with pytest.raises(EditError, match=r"'focl'.*'focal'"):
        edit(run, set_objective="focl")


def test_set_objective_makes_the_schedule_forget_earlier_losses(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    run.schedule = Schedule(Choice("plateau", {"patience": 0}), num_warmup_steps=0, num_training_steps=9)
    run.schedule.step_on_metric(0.1)
    edit(run, set_objective="focal")
    run.schedule.step_on_metric(0.5)  # if the schedule had kept 0.1, this would be worse, and the factor would fall
    assert run.schedule.factor == 1


def test_set_max_length_can_increase_but_never_decreases_the_length_for_evaluation(
    start_rehearsal: StartRehearsal,
) -> None:
    run = start_rehearsal("bert")
    config = run.encoder_with_head.config
    original_length = config.max_input_length
    edit(run, set_max_length=16)
    assert (run.collator.max_length, config.max_input_length) == (16, original_length)
    edit(run, set_max_length=40)
    assert (run.collator.max_length, config.max_input_length) == (40, max(40, original_length))


# The encoder has 40 positions. Every input has two special tokens, so that a length of 2 leaves no room for text.
@pytest.mark.parametrize(("length", "message"), [(41, r"\b40\b.*\b41\b"), (2, r"length.*\b2\b")])
def test_set_max_length_refuses_lengths_outside_the_encoders_range(
    start_rehearsal: StartRehearsal, length: int, message: str
) -> None:
    with pytest.raises(EditError, match=message):
        edit(start_rehearsal("bert"), set_max_length=length)
