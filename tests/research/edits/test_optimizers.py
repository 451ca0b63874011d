"""Every optimizer's parameter groups and state follow edits, and the edit set_optimizer changes the optimizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from research.edits.base import EditError
from research.learning.optimizers.base import OPTIMIZERS
from research.training.audit import check_optimizer, check_rates
from tests.research.edits.conftest import StartRehearsal, edit
from tests.research.learning.optimizers.trained import NAMES, differing, train, weights

EDITS: list[dict[str, Any]] = [
    {"replace_head": {"name": "mlp", "mlp_size": 4}},
    {"add_lora": {"r": 2}},
    {"freeze": "encoder.layer[0]", "unfreeze": "head"},
    {"merge_lora": True},
    {"drop_layers": "encoder.layer[0]"},
    {"reinitialize": "head"},
    {"replace_head": "attention"},
    {"set_optimizer": "adamw"},
]


@pytest.mark.parametrize("name", NAMES)
def test_groups_follow_edits(start_rehearsal: StartRehearsal, name: str) -> None:
    run = start_rehearsal("bert", settings={"optimizer": name, "schedule": "constant", "warmup": "0"})
    for edits in EDITS:
        edit(run, **edits)
        check_optimizer(run.encoder_with_head, run.optimizer)
        check_rates(run.optimizer, run.schedule)
        before = weights(run.encoder_with_head)
        train(run.encoder_with_head, [run.optimizer], 1)
        changed = differing(weights(run.encoder_with_head), before)
        trainable = {key for key, p in run.encoder_with_head.named_parameters() if p.requires_grad}
        assert set(changed) <= trainable, edits
        assert "head.out.weight" in changed, edits
    assert isinstance(run.optimizer, torch.optim.AdamW)


@pytest.mark.parametrize("name", NAMES)
def test_set_optimizer_keeps_rates_and_weight_decay_and_starts_without_state(
    start_rehearsal: StartRehearsal, name: str
) -> None:
    run = start_rehearsal("bert", settings={"schedule": "constant", "warmup": "0"})
    train(run.encoder_with_head, [run.optimizer], 1)
    edit(run, set_lr={"lr": 0.5, "modules": "head"}, set_weight_decay={"weight_decay": 0.3, "modules": "encoder"})
    kept = ("block", "decays", "base_lr", "lr", "weight_decay")
    before = {tuple(group[key] for key in kept) for group in run.optimizer.param_groups}
    edit(run, set_optimizer=name)
    assert {tuple(group[key] for key in kept) for group in run.optimizer.param_groups} == before
    assert not run.optimizer.state
    assert type(run.optimizer_kind) is OPTIMIZERS[name]


def test_set_optimizer_refuses_unknown_names_options_and_rates(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    for value, message in (
        ("lio", "'lio'.*'lion'"),
        ({"optimizer": {"name": "lion", "beta3": 0.5}}, "'beta3'.*'lion'"),
        ({"optimizer": "lion", "lr": 0.0}, r"lr above 0.*0\.0"),
        ("schedule_free_adamw", "schedule_free_adamw.*one_cycle.*constant"),
    ):
        with pytest.raises(EditError, match=message):
            edit(run, set_optimizer=value)


def test_set_optimizer_scales_all_rates_with_that_of_the_last_layer(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert", settings={"lr": 0.2, "head_lr": 0.4, "layer_decay": 0.5})
    edit(run, set_optimizer={"optimizer": "sgd", "lr": 0.1})
    rates = {group["block"]: group["base_lr"] for group in run.optimizer.param_groups}
    assert rates == pytest.approx({"embeddings": 0.025, "layer.0": 0.05, "layer.1": 0.1, "head": 0.2})
