"""Contract of every registered optimizer: its steps are those of its package, and it follows settings and edits."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterable
from typing import Any

import bitsandbytes
import lion_pytorch
import pytest
import schedulefree
import torch
from torch import nn
from torch.optim import Optimizer

from research.learning.optimizer import apply_schedule, choose_optimizer, create_optimizer
from research.learning.optimizers.base import OPTIMIZERS
from research.learning.schedules import Schedule
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import model_blocks
from research.settings.config import Choice, RunConfig
from tests.research.learning.optimizers.trained import NAMES, differing, train, weights
from tests.research.model.tiny_encoders import tiny_model

NUM_STEPS = 20
RATE = 0.003
Parameters = dict[str, nn.Parameter]


def adamw(parameters: Iterable[Any]) -> Optimizer:
    return torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, fused=True)


def references(parameters: Parameters) -> dict[str, list[Optimizer]]:
    """Return for each optimizer the objects of its package that together take the same steps, without weight decay."""
    values = list(parameters.values())
    hidden = [
        parameter
        for name, parameter in parameters.items()
        if parameter.ndim == 2 and name.startswith("encoder.encoder.")
    ]
    others = [parameter for parameter in values if not any(parameter is each for each in hidden)]
    return {
        "adafactor": [torch.optim.Adafactor(values, lr=RATE)],
        "adamw": [adamw(values)],
        "adamw_8bit": [bitsandbytes.optim.AdamW8bit(values, lr=RATE, weight_decay=0.0)],
        "lion": [lion_pytorch.Lion(values, lr=RATE)],
        "muon": [
            torch.optim.Muon(hidden, lr=RATE, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            adamw(others),
        ],
        "schedule_free_adamw": [schedulefree.AdamWScheduleFree(values, lr=RATE)],
        "sgd": [torch.optim.SGD(values, lr=RATE)],
    }


def create(model: EncoderWithHead, name: str, **settings: Any) -> Optimizer:
    config = RunConfig(**{"optimizer": name, "lr": RATE, "head_lr": RATE, "layer_decay": 1.0, **settings})
    return create_optimizer(model_blocks(model.encoder, model.head), config)


def in_training_mode(optimizers: list[Optimizer]) -> list[Optimizer]:
    """Call `train` of the optimizers that have it, as users of the package schedulefree do."""
    for optimizer in optimizers:
        getattr(optimizer, "train", lambda: None)()
    return optimizers


def test_every_optimizer_has_a_reference() -> None:
    assert sorted(references(dict(tiny_model("bert").named_parameters()))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_steps_are_those_of_the_package(name: str) -> None:
    model, reference = tiny_model("bert"), tiny_model("bert")
    reference.load_state_dict(model.state_dict())
    initial = weights(model)
    train(model, [create(model, name, weight_decay=0.0)], NUM_STEPS)
    train(reference, in_training_mode(references(dict(reference.named_parameters()))[name]), NUM_STEPS)
    assert not differing(weights(model), weights(reference))
    changed = differing(weights(model), initial)
    assert len(changed) > len(initial) / 2, "hardly any weight was trained"


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_shrinks_matrices_and_no_vectors(name: str) -> None:
    """With a gradient of 0, only weight decay changes weights."""
    model = tiny_model("bert")
    before = weights(model)
    optimizer = create(model, name, weight_decay=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, value in weights(model).items():
        expected = before[key] * (1 - RATE * 0.1) if value.ndim >= 2 else before[key]
        assert torch.allclose(value, expected, rtol=1e-6, atol=0), key


@pytest.mark.parametrize("name", NAMES)
def test_parameters_without_gradient_do_not_change_and_get_no_state(name: str) -> None:
    model = tiny_model("bert")
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    before = weights(model)
    optimizer = create(model, name, weight_decay=0.1)
    train(model, [optimizer], 2)
    assert all(key.startswith("head.") for key in differing(weights(model), before))
    assert {key for key, parameter in model.named_parameters() if optimizer.state.get(parameter)} <= {
        "head.out.weight",
        "head.out.bias",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_that_joins_late_starts_like_in_a_new_run(name: str) -> None:
    """Step counts belong to parameters: a bias correction or an average starts at a parameter's own first step."""
    late, new = tiny_model("bert"), tiny_model("bert")
    new.load_state_dict(late.state_dict())
    bias, new_bias = late.get_parameter("head.out.bias"), new.get_parameter("head.out.bias")
    optimizer, new_optimizer = create(late, name, weight_decay=0.0), create(new, name, weight_decay=0.0)
    bias.requires_grad_(False)
    train(late, [optimizer], 5)
    optimizer.zero_grad()
    for parameter, used in ((bias, optimizer), (new_bias, new_optimizer)):
        for gradient in (0.5, -0.25):
            parameter.grad = torch.full_like(parameter, gradient)
            used.step()
    with choose_optimizer(RunConfig(optimizer=name)).evaluation_weights(optimizer):
        late_value = bias.detach().clone()
    with choose_optimizer(RunConfig(optimizer=name)).evaluation_weights(new_optimizer):
        assert torch.equal(late_value, new_bias)


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_torch_save_without_pickled_objects(name: str) -> None:
    model = tiny_model("bert")
    optimizer = create(model, name)
    train(model, [optimizer], 3)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    resumed_model = copy.deepcopy(model)
    resumed_model.zero_grad()
    resumed = create(resumed_model, name)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    train(model, [optimizer], 3)
    train(resumed_model, [resumed], 3)
    assert not differing(weights(model), weights(resumed_model))


@pytest.mark.parametrize("name", NAMES)
def test_schedule_moves_the_momentum_or_is_refused(name: str) -> None:
    schedule = Schedule(Choice("one_cycle", {"cycle_momentum": True}), num_warmup_steps=2, num_training_steps=6)
    kind = OPTIMIZERS[name]()
    if not kind.has_momentum:
        with pytest.raises(ValueError, match=f"one_cycle.*momentum.*{name}"):
            kind.check_schedule(schedule)
        return
    kind.check_schedule(schedule)
    optimizer = create(tiny_model("bert"), name)
    apply_schedule(optimizer, schedule)
    read: Callable[[dict[str, Any]], float] = lambda group: group["betas"][0] if "betas" in group else group["momentum"]  # noqa: E731
    assert {read(group) for group in optimizer.param_groups} == {0.95}


@pytest.mark.parametrize("name", [name for name in NAMES if OPTIMIZERS[name].package is not None])
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    package = OPTIMIZERS[name].package
    assert package is not None
    OPTIMIZERS[name].check_installed()
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(ValueError, match=rf"'{name}'.*{package.module}.*pip install \"midway\[{package.extra}\]\""):
        OPTIMIZERS[name].check_installed()
