"""The optimizer's parameter groups: two per block, with and without weight decay."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from research.learning.optimizer import (
    SETTINGS_BY_GROUP_KEY,
    apply_schedule,
    base_rates,
    choose_optimizer,
    create_optimizer,
    learning_rates,
    parameter_groups,
)
from research.learning.schedules import Schedule
from research.model.families import model_blocks
from research.settings.config import Choice, RunConfig
from tests.research.model.tiny_encoders import FAMILY_NAMES, tiny_model


def tiny_blocks(family: str = "bert") -> list[tuple[str, list[tuple[str, torch.nn.Parameter]]]]:
    model = tiny_model(family)
    return model_blocks(model.encoder, model.head)


def test_base_rates_decrease_with_the_distance_from_the_head() -> None:
    rates = base_rates(tiny_blocks(), RunConfig(lr=1.0, head_lr=5.0, layer_decay=0.5))
    assert rates == {"embeddings": 0.25, "layer.0": 0.5, "layer.1": 1.0, "head": 5.0}
    assert base_rates(tiny_blocks(), RunConfig(lr=1.0, head_lr=None, layer_decay=1.0)) == dict.fromkeys(rates, 1.0)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_parameter_is_in_exactly_one_group_even_if_frozen(family: str) -> None:
    model = tiny_model(family)
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), RunConfig(weight_decay=0.1))
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(model.parameters()))
    keys = [(group["block"], group["weight_decay"]) for group in optimizer.param_groups]
    assert len(keys) == len(set(keys))


def test_norms_and_biases_have_no_weight_decay() -> None:
    named_blocks = tiny_blocks()
    names = {id(parameter): name for _, parameters in named_blocks for name, parameter in parameters}
    for group in create_optimizer(named_blocks, RunConfig(weight_decay=0.1)).param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            is_exempt = name.endswith("bias") or "LayerNorm" in name
            assert (group["weight_decay"] == 0) == is_exempt, name


class RecordingSettings:
    """Default settings that record which of them are read."""

    def __init__(self) -> None:
        self.read: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(RunConfig(), name)


def test_settings_by_group_key_lists_all_settings_that_groups_depend_on() -> None:
    rate_settings, group_settings = RecordingSettings(), RecordingSettings()
    base_rates(tiny_blocks(), cast("RunConfig", rate_settings))
    assert rate_settings.read == {*SETTINGS_BY_GROUP_KEY["base_lr"]}
    groups = parameter_groups(tiny_blocks(), cast("RunConfig", group_settings), choose_optimizer(RunConfig()))
    assert group_settings.read == {name for names in SETTINGS_BY_GROUP_KEY.values() for name in names}
    assert all(key in group for key in SETTINGS_BY_GROUP_KEY for group in groups)


def test_apply_schedule_multiplies_every_base_rate() -> None:
    optimizer = create_optimizer(tiny_blocks(), RunConfig(lr=1.0, head_lr=5.0, layer_decay=0.5))
    schedule = Schedule(Choice("linear"), num_warmup_steps=0, num_training_steps=4)
    schedule.step()  # the factor becomes 3 / 4
    apply_schedule(optimizer, schedule)
    assert learning_rates(optimizer) == pytest.approx(
        {"embeddings": 0.75 * 0.25, "layer.0": 0.75 * 0.5, "layer.1": 0.75, "head": 0.75 * 5}
    )


def test_create_optimizer_supports_sgd() -> None:
    assert isinstance(create_optimizer(tiny_blocks(), RunConfig(optimizer="sgd")), torch.optim.SGD)
