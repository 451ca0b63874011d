"""Every optimizer, and a change of the optimizer, works with the gradient scaler of fp16."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from research import Hook
from research.learning.optimizers.base import OPTIMIZERS
from research.system.sharded_tensors import gather
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun, use_scaler
from tests.shipped import shipped_names


class OverflowsOnce(Hook):
    """Make the gradients of one step infinite, as too large a scale does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_backward(self, run: Any, batch: Any) -> None:
        if run.clock.step + 1 == self.step:
            for parameter in run.encoder_with_head.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(torch.inf)


class SkipsOnce(Hook):
    """Skip the same step without a scaler."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before_step(self, run: Any) -> None:
        if run.clock.step + 1 == self.step:
            run.skip_step("for the test")


@pytest.mark.parametrize("name", shipped_names(OPTIMIZERS))
def test_scaled_training_with_a_skipped_step_has_the_bits_of_unscaled_training(start_run: StartRun, name: str) -> None:
    """Scales are powers of 2, so scaling and unscaling is exact."""
    settings = {
        "optimizer": name,
        "schedule": "constant",
        "warmup": "0",
        "max_steps": 5,
        "timeline": [{"at": "3st", "set_optimizer": "adamw"}],
    }
    plain, scaled = start_run([SkipsOnce(2)], **settings), start_run([OverflowsOnce(2)], **settings)
    use_scaler(scaled)
    train(plain)
    train(scaled)
    assert (plain.num_skipped, scaled.num_skipped) == (1, 1)
    assert scaled.accelerator.scaler.get_scale() == 4.0  # half of the initial scale
    assert not differing_weights(plain, scaled)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adamw", {}),
        ("muon", {}),  # gathers each parameter for its step
        ("adamw", {"freeze": ["encoder"], "head": {"name": "scalar_mix", "dropout": 0.0}}),  # has a single number
    ],
)
def test_scaler_skips_the_same_steps_of_split_parameters(
    start_run: StartRun, name: str, options: dict[str, Any]
) -> None:
    settings = {"optimizer": name, "schedule": "constant", "warmup": "0", "max_steps": 4, **options}
    plain, split = start_run([SkipsOnce(2)], **settings), start_run([OverflowsOnce(2)], shard="fsdp2", **settings)
    use_scaler(split)
    train(plain)
    train(split)
    assert (plain.num_skipped, split.num_skipped) == (1, 1)
    assert split.accelerator.scaler.get_scale() == 4.0  # half of the initial scale
    pairs = zip(plain.encoder_with_head.parameters(), split.encoder_with_head.parameters(), strict=True)
    assert all(torch.equal(whole, gather(parts)) for whole, parts in pairs)


def differing_weights(first: TrainingRun, second: TrainingRun) -> list[str]:
    pairs = zip(first.encoder_with_head.named_parameters(), second.encoder_with_head.parameters(), strict=True)
    return [name for (name, one), other in pairs if not torch.equal(one, other)]
