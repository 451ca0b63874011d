"""Hooks that plan edits: the plan is in the timeline, and the run does it."""

from __future__ import annotations

import pytest

from research import Hook, RunConfig
from research.data.batches.batch import Batch
from research.hooks.gradual_unfreezing import GradualUnfreezing
from research.hooks.length_warmup import LengthWarmup
from research.training.api import Run
from research.training.loop import train
from tests.research.conftest import StartRun


class Watch(Hook):
    """Keeps what trains and how wide batches are, step by step."""

    def __init__(self) -> None:
        self.trained: list[set[str]] = []
        self.widths: list[int] = []
        self.ids: list[list[int]] = []

    def on_batch(self, run: Run, batch: Batch) -> None:
        self.widths.append(batch.inputs["input_ids"].shape[1])
        self.ids.append(batch.ids.tolist())

    def before_step(self, run: Run) -> None:
        named = run.encoder_with_head.named_parameters()
        self.trained.append(
            {
                name.rpartition(".layer.")[2][0]
                if ".layer." in name
                else name.split(".")[0]
                if name.startswith("head")
                else "embeddings"
                for name, p in named
                if p.grad is not None
            }
        )


def test_gradual_unfreezing_goes_down_layer_by_layer(start_run: StartRun) -> None:
    watch = Watch()
    train(start_run([GradualUnfreezing(over="3st"), watch]))
    assert watch.trained == [{"head"}, {"head", "1"}, {"head", "1", "0"}, {"head", "1", "0", "embeddings"}]


def test_gradual_unfreezing_of_a_shared_layer_is_one_step() -> None:
    plan = GradualUnfreezing(over="10%").timeline(RunConfig(), ["embeddings", "layer.0", "head"])
    assert plan == [{"at": "0%", "freeze": "encoder"}, {"at": "10%", "unfreeze": "encoder"}]


def test_gradual_unfreezing_that_does_not_fit_says_so(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match=r"hook GradualUnfreezing: 6st is step 6, which is never reached"):
        start_run(hook=[{"name": "gradual_unfreezing", "over": "6st"}])


def test_length_warmup_cuts_and_keeps_the_order(start_run: StartRun) -> None:
    plain, watch = Watch(), Watch()
    train(start_run([plain], max_length=32))
    run = start_run([LengthWarmup(start=8, over="2st", num_stages=2), watch], max_length=32)
    train(run)
    assert watch.ids == plain.ids
    assert [min(width, limit) for width, limit in zip(plain.widths, [8, 16, 32, 32], strict=True)] == watch.widths
    assert [record.arguments["length"] for record in run.journal] == [8, 16, 32]  # 20 is no multiple of 8


def test_length_warmup_leaves_evaluation_at_full_length(start_run: StartRun) -> None:
    run = start_run([LengthWarmup(start=8, over="100%")], max_length=32, max_steps=1)
    assert run.encoder_with_head.config.max_input_length == 32
    train(run)
    assert run.encoder_with_head.config.max_input_length == 32


def test_length_warmup_from_the_full_length_is_refused(start_run: StartRun) -> None:
    with pytest.raises(ValueError, match="begins at 32 tokens; expected less than --max_length 32"):
        start_run(hook=[{"name": "length_warmup", "start": 32}])
