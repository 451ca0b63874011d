"""Trainable parameters without a gradient are reported; with several processes they are an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
import torch
from accelerate import Accelerator

from research.model.encoder_with_head import EncoderWithHead
from research.training.audit_error import AuditError
from research.training.gradient_check import GradientCheck
from tests.messages import collect_messages
from tests.research.model.tiny_encoders import tiny_model


@dataclass(frozen=True)
class FakeAccelerator:
    """Stands in for an accelerator with a given number of processes."""

    num_processes: int


ONE_PROCESS, TWO_PROCESSES = (cast("Accelerator", FakeAccelerator(number)) for number in (1, 2))


@pytest.fixture
def model() -> EncoderWithHead:
    """A model in which the first parameter of the head has no gradient."""
    model = tiny_model("bert")
    without_gradient = next(iter(model.head.parameters()))
    for parameter in model.parameters():
        parameter.grad = None if parameter is without_gradient else torch.zeros_like(parameter)
    return model


def test_check_warns_with_one_process_in_the_first_step_and_after_edits(model: EncoderWithHead) -> None:
    name = next(f"head.{name}" for name, _ in model.head.named_parameters())
    check = GradientCheck()
    with collect_messages() as lines:
        check.check(model, ONE_PROCESS, is_compiled=False)
        check.check(model, ONE_PROCESS, is_compiled=False)
    assert [name in line for line in lines] == [True]
    check.repeat_in_next_step()
    with collect_messages() as lines:
        check.check(model, ONE_PROCESS, is_compiled=False)
    assert [name in line for line in lines] == [True]


def test_check_raises_with_several_processes_in_the_first_step_and_after_edits(model: EncoderWithHead) -> None:
    check = GradientCheck()
    with pytest.raises(AuditError, match=r"head\."):
        check.check(model, TWO_PROCESSES, is_compiled=False)
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.grad is not None)
    check.check(model, TWO_PROCESSES, is_compiled=False)
    model.requires_grad_(True)
    check.check(model, TWO_PROCESSES, is_compiled=False)  # not checked: no edits after the last check
    check.repeat_in_next_step()
    with pytest.raises(AuditError, match=r"head\."):
        check.check(model, TWO_PROCESSES, is_compiled=False)


def test_check_raises_for_a_compiled_model_in_every_step(model: EncoderWithHead) -> None:
    check = GradientCheck()
    for _ in range(2):
        with pytest.raises(AuditError, match=r"head\."):
            check.check(model, ONE_PROCESS, is_compiled=True)
