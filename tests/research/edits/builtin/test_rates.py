"""Learning rates and weight decay are set for whole blocks."""

from __future__ import annotations

import math
from typing import Any

import pytest

from research.edits.base import EditError
from research.learning.optimizer import learning_rates
from tests.research.edits.conftest import StartRehearsal, edit


def test_set_lr_and_scale_lr_change_the_rate_that_the_schedule_multiplies(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    for _ in range(3):
        run.schedule.step()
    factor = run.schedule.factor
    assert 0 < factor < 1
    edit(run, set_lr={"lr": 0.5, "modules": ["encoder.layer[1]", "head"]})
    edit(run, scale_lr={"factor": 0.5, "modules": "head"})
    rates = learning_rates(run.optimizer)
    assert (rates["layer.1"], rates["head"]) == (0.5 * factor, 0.25 * factor)
    assert rates["layer.0"] == run.config.lr * run.config.layer_decay * factor
    edit(run, scale_lr=2)
    assert learning_rates(run.optimizer) == {block: 2 * rate for block, rate in rates.items()}


def test_set_weight_decay_does_not_change_norms_and_biases(start_rehearsal: StartRehearsal) -> None:
    run = start_rehearsal("bert")
    edit(run, set_weight_decay={"weight_decay": 0.3, "modules": "head"})
    weight_decays = {(group["block"], group["decays"]): group["weight_decay"] for group in run.optimizer.param_groups}
    assert weight_decays["head", True] == 0.3
    assert {value for (_, has_decay), value in weight_decays.items() if not has_decay} == {0.0}
    assert weight_decays["layer.0", True] == run.config.weight_decay != 0.3


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf])
def test_rate_edits_refuse_rates_that_are_not_positive_and_finite(
    start_rehearsal: StartRehearsal, value: float
) -> None:
    run = start_rehearsal("bert")
    with pytest.raises(EditError, match=f"lr .*0.* {value};.*freeze"):
        edit(run, set_lr=value)
    with pytest.raises(EditError, match=f"factor .*0.* {value};.*freeze"):
        edit(run, scale_lr=value)


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"set_weight_decay": -0.1}, r"weight_decay .*0.* -0\.1"),
        ({"set_lr": {"lr": 0.1, "modules": "name:*bias"}}, "'embeddings'"),
    ],
)
def test_rate_edits_refuse_negative_decay_and_parts_of_blocks(
    start_rehearsal: StartRehearsal, edits: dict[str, Any], message: str
) -> None:
    with pytest.raises(EditError, match=message):
        edit(start_rehearsal("bert"), **edits)
