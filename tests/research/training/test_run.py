"""What a run knows of itself."""

from __future__ import annotations

import math
from types import FunctionType

import pytest
import torch

from research.edits.base import Editable
from research.training.api import Run
from research.training.run import TrainingRun
from tests.research.conftest import StartRun


def test_run_has_no_method_that_neither_hooks_nor_edits_may_use() -> None:
    listed = {*vars(Run), *vars(Editable)}
    own = {name for name, value in vars(TrainingRun).items() if isinstance(value, FunctionType | property)}
    assert {name for name in own if not name.startswith("__")} <= listed


def test_run_is_over_after_its_last_step_or_once_a_stop_was_agreed_on(start_run: StartRun) -> None:
    run = start_run(max_steps=1)
    run.stop("enough")
    run.stop("another reason")
    found = [run.is_over]
    run.stop_reason = run.requested_stop
    other = start_run(max_steps=1)
    found += [run.is_over, other.is_over]
    other.clock.advance(8)
    assert [*found, other.is_over] == [False, True, False, True]
    assert run.requested_stop == "enough"


def test_logged_values_are_numbers(start_run: StartRun) -> None:
    run = start_run()
    run.log({"mine": torch.tensor(2)})  # type: ignore[dict-item]
    run.log({"mine": 3, "yours": math.inf})
    assert run.to_log == {"mine": 3.0, "yours": math.inf}
    with pytest.raises(ValueError, match="'mine'"):
        run.log({"mine": torch.ones(2)})  # type: ignore[dict-item]
