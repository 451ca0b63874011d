"""A run has the documented methods, ends when requested, and logs numbers."""

from __future__ import annotations

import math
from types import FunctionType

import pytest
import torch

from research.edits.base import Editable
from research.training.api import Run
from research.training.run import TrainingRun
from tests.research.conftest import StartRun


def test_every_method_of_a_run_is_documented_for_hooks_or_edits() -> None:
    documented = {*vars(Run), *vars(Editable)}
    methods = {name for name, value in vars(TrainingRun).items() if isinstance(value, FunctionType | property)}
    assert {name for name in methods if not name.startswith("__")} <= documented


def test_is_over_after_the_last_step_or_an_agreed_stop(start_run: StartRun) -> None:
    run = start_run(max_steps=1)
    run.stop("enough")
    run.stop("another reason")
    assert run.requested_stop_reason == "enough"
    was_over = run.is_over
    run.stop_reason = run.requested_stop_reason
    assert (was_over, run.is_over) == (False, True)
    unstopped = start_run(max_steps=1)
    was_over = unstopped.is_over
    unstopped.clock.advance(num_examples=8)
    assert (was_over, unstopped.is_over) == (False, True)


def test_log_refuses_values_that_are_not_numbers(start_run: StartRun) -> None:
    run = start_run()
    run.log({"mine": torch.tensor(2)})  # type: ignore[dict-item]
    run.log({"mine": 3, "yours": math.inf})
    assert run.to_log == {"mine": 3.0, "yours": math.inf}
    with pytest.raises(ValueError, match="'mine'"):
        run.log({"mine": torch.ones(2)})  # type: ignore[dict-item]
