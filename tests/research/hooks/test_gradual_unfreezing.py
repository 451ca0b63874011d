"""The encoder is unfrozen layer by layer, starting at the top."""

from __future__ import annotations

import pytest

from research import Hook, RunConfig
from research.hooks.gradual_unfreezing import GradualUnfreezing
from research.training.api import Run
from research.training.loop import train
from tests.research.conftest import StartRun


class RecordTrainedParts(Hook):
    """Records which parts of the model are trained in every step: layer numbers, "head" and "embeddings"."""

    def __init__(self) -> None:
        self.trained: list[set[str]] = []

    def before_step(self, run: Run) -> None:
        # The backward pass is over, so all parameters that are trained have gradients.
        named = run.encoder_with_head.named_parameters()
        self.trained.append({part_of(name) for name, p in named if p.grad is not None})


def part_of(name: str) -> str:
    """Return the part of the model to which a parameter belongs, given the parameter's name."""
    if ".layer." in name:
        return name.rpartition(".layer.")[2][0]
    return "head" if name.startswith("head") else "embeddings"


def test_gradual_unfreezing_unfreezes_from_the_top_down(start_run: StartRun) -> None:
    recorder = RecordTrainedParts()
    train(start_run([GradualUnfreezing(over="3st"), recorder], max_steps=4))  # "3st": over 3 steps
    assert recorder.trained == [{"head"}, {"head", "1"}, {"head", "1", "0"}, {"head", "1", "0", "embeddings"}]


def test_gradual_unfreezing_unfreezes_an_encoder_with_one_shared_layer_as_a_whole() -> None:
    timeline = GradualUnfreezing(over="10%").timeline(RunConfig(), ["embeddings", "layer.0", "head"])
    assert timeline == [{"at": "0%", "freeze": "encoder"}, {"at": "10%", "unfreeze": "encoder"}]


def test_gradual_unfreezing_refuses_a_time_after_the_end_of_the_run(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match=r"hook GradualUnfreezing: 6st .*\b4\b"):
        start_run(hook=[{"name": "gradual_unfreezing", "over": "6st"}], max_steps=4)


def test_gradual_unfreezing_refuses_a_time_of_0_and_adapters() -> None:
    with pytest.raises(ValueError, match=r"\bover\b.*'0st'"):
        GradualUnfreezing(over="0st")
    with pytest.raises(ValueError, match=r"'gradual_unfreezing'.*--peft"):
        GradualUnfreezing().timeline(RunConfig(peft="lora"), ["embeddings", "layer.0", "head"])
