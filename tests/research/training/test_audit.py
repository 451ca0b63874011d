"""The audit finds every inconsistency after edits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from research.learning.optimizer import apply_schedule, create_optimizer
from research.learning.schedules import Schedule
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import model_blocks
from research.settings.config import Choice, RunConfig
from research.training.audit import (
    check_compiled,
    check_gradients_arrive,
    check_optimizer,
    check_rates,
    check_replicas,
    check_trainable_unchanged,
    describe_unused,
    parameters_without_gradient,
)
from research.training.audit_error import AuditError
from research.training.wrapping.ddp import ReplicatedModel
from tests.limits import HANG_LIMIT
from tests.research.model.tiny_encoders import tiny_batch, tiny_model

Pair = tuple[EncoderWithHead, torch.optim.Optimizer]
"""A model and its optimizer."""


def make_model_and_optimizer() -> Pair:
    """Return a model and a matching optimizer."""
    model = tiny_model("bert")
    return model, create_optimizer(model_blocks(model.encoder, model.head), RunConfig())


def test_check_optimizer_requires_every_parameter_exactly_once() -> None:
    model, optimizer = make_model_and_optimizer()
    check_optimizer(model, optimizer)
    bias = model.get_parameter("head.out.bias")
    model.head.get_submodule("out").register_parameter("bias", nn.Parameter(torch.zeros(3)))
    with pytest.raises(AuditError, match=r"head\.out\.bias .*\b0 groups"):
        check_optimizer(model, optimizer)
    model.head.get_submodule("out").register_parameter("bias", bias)
    group = optimizer.param_groups[0]
    group["params"].append(nn.Parameter(torch.zeros(5, 7)))
    with pytest.raises(AuditError, match=r"\[5, 7\]"):
        check_optimizer(model, optimizer)
    group["params"][-1] = bias
    with pytest.raises(AuditError, match=r"head\.out\.bias .*\b2 groups"):
        check_optimizer(model, optimizer)


def test_check_optimizer_refuses_gradients_of_frozen_parameters() -> None:
    model, optimizer = make_model_and_optimizer()
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    check_optimizer(model, optimizer)
    model.get_parameter("head.out.bias").requires_grad_(False)
    with pytest.raises(AuditError, match=r"gradient; head\.out\.bias [^;]*$"):
        check_optimizer(model, optimizer)


def test_check_rates_requires_learning_rates_that_follow_the_schedule() -> None:
    _, optimizer = make_model_and_optimizer()
    schedule = Schedule(Choice("linear"), num_warmup_steps=0, num_training_steps=4)
    schedule.step()
    # After 1 of 4 steps, the factor of the schedule is 0.75, which has not been applied yet.
    with pytest.raises(AuditError, match=r"set_lr.*layer\.1 has 0\.0001 .* 7\.5e-05"):
        check_rates(optimizer, schedule)
    apply_schedule(optimizer, schedule)
    check_rates(optimizer, schedule)
    optimizer.param_groups[-1]["lr"] *= 1 + 1e-12
    with pytest.raises(AuditError, match="head has") as caught:
        check_rates(optimizer, schedule)
    assert "embeddings" not in str(caught.value)


def check_replicas_in_threads(first: Pair, second: Pair) -> list[str | None]:
    """Check two models against each other, each in a thread that stands for a process; return each thread's error."""
    barrier, gathered = threading.Barrier(2, timeout=HANG_LIMIT), [torch.empty(0)] * 2

    def check(rank: int, pair: Pair) -> str | None:
        def gather(tensor: Tensor) -> Tensor:
            gathered[rank] = tensor
            barrier.wait()
            result = torch.cat(gathered)
            barrier.wait()
            return result

        try:
            check_replicas(*pair, gather, num_processes=2)
        except AuditError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(check, range(2), (first, second)))


def test_check_replicas_finds_any_difference_in_bits() -> None:
    def change_value(model: EncoderWithHead, optimizer: torch.optim.Optimizer) -> None:
        with torch.no_grad():
            bias = model.get_parameter("head.out.bias")
            bias[1] = torch.nextafter(bias[1], torch.tensor(9.0))

    def change_buffer(model: EncoderWithHead, optimizer: torch.optim.Optimizer) -> None:
        model.get_buffer("head.shift").add_(1)

    def freeze(model: EncoderWithHead, optimizer: torch.optim.Optimizer) -> None:
        model.get_parameter("head.out.bias").requires_grad_(False)

    def change_rate(model: EncoderWithHead, optimizer: torch.optim.Optimizer) -> None:
        optimizer.param_groups[-1]["lr"] *= 1 + 1e-15

    assert check_replicas_in_threads(make_model_and_optimizer(), make_model_and_optimizer()) == [None, None]
    for change, message in (
        (change_value, "values of head.out.bias"),
        (change_buffer, "buffer head.shift"),
        (freeze, "head.out.bias is frozen"),
        (change_rate, "rate of head"),
    ):
        changed_pair = make_model_and_optimizer()
        change(*changed_pair)
        for error in check_replicas_in_threads(make_model_and_optimizer(), changed_pair):
            assert error is not None, message
            assert message in error
            assert error.count(" differs") == 1


def test_check_replicas_reports_different_structures() -> None:
    model = tiny_model("bert", "linear")
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), RunConfig())
    first, second = check_replicas_in_threads(make_model_and_optimizer(), (model, optimizer))
    assert first == second
    assert first is not None
    first_count, second_count = (int(number) for number in first.partition("[")[2].partition("]")[0].split(", "))
    assert first_count == second_count + 1  # tiny_model's default head has a buffer, the linear head has none


def test_check_compiled_and_check_trainable_unchanged_find_changed_trainable_parameters(
    accelerator: Accelerator,
) -> None:
    model, _ = make_model_and_optimizer()
    uncompiled = ReplicatedModel(accelerator, model)
    compiled = ReplicatedModel(accelerator, model, compile_backend="eager")
    check_compiled(uncompiled)
    check_compiled(compiled)
    check_trainable_unchanged(compiled)
    model.get_parameter("head.out.bias").requires_grad_(False)
    with pytest.raises(AuditError, match=r"head\.out\.bias"):
        check_compiled(compiled)
    with pytest.raises(AuditError, match=r"head\.out\.bias.*run\.edit\."):
        check_trainable_unchanged(compiled)
    check_compiled(uncompiled)  # accepted, because the model is not compiled
    model.get_parameter("head.out.bias").requires_grad_(True)
    model.head.get_submodule("out").register_parameter("bias", nn.Parameter(torch.zeros(3)))
    with pytest.raises(AuditError, match=r"head\.out\.bias, 1 removed"):
        check_trainable_unchanged(compiled)


def test_parameters_without_gradient_are_found_and_the_flag_to_freeze_them_is_suggested() -> None:
    model, _ = make_model_and_optimizer()
    model.get_parameter("head.out.bias").requires_grad_(False)
    model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    check_gradients_arrive(model)
    assert parameters_without_gradient(model) == []
    layer = [name for name, _ in model.named_parameters() if ".layer.1." in name]
    for name in layer:
        model.get_parameter(name).grad = None
    assert parameters_without_gradient(model) == layer
    description = describe_unused(model, layer)
    assert ", ".join(layer[:5]) in description
    assert layer[5] not in description
    assert f" {len(layer) - 5} more" in description
    # The encoder has two layers, so both selectors select the same layer.
    assert "--freeze encoder.layer[1])" in description or "--freeze encoder.layer[-1])" in description
    listed = "; ".join(f"{name} got none" for name in layer[:5])
    with pytest.raises(AuditError, match=f"{listed}; and {len(layer) - 5} more"):
        check_gradients_arrive(model)
