"""Edits with every schedule, a gradient scaler, a resume, random numbers, and dropout of frozen blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from research import Hook
from research.learning.schedules import SCHEDULES
from research.records.results import weights_sha256
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from research.training.run import TrainingRun
from tests.research.conftest import StartRun, use_scaler
from tests.shipped import shipped_names

TIMELINE: list[dict[str, Any]] = [  # "2st" means after step 2
    {"at": "0%", "freeze": "encoder"},
    {"at": "1st", "unfreeze": "encoder.layer[1]", "scale_lr": {"factor": 0.5, "modules": "head"}},
    {"at": "2st", "replace_head": {"name": "lstm", "lstm_size": 4}},
    {"at": "3st", "add_lora": {"r": 2}},
    {"at": "4st", "merge_lora": True, "set_max_length": 16, "set_objective": "focal"},
    {"at": "5st", "drop_layers": "encoder.layer[0]", "set_dropout": 0.2, "reinitialize": "head"},
]


class RecordRates(Hook):
    """Records the learning rates of every step, and whether the step was skipped."""

    def __init__(self) -> None:
        self.rates: list[dict[str, float]] = []
        self.skipped: list[bool] = []

    def after_step(self, run: Run) -> None:
        assert run.last_step is not None
        self.rates.append(run.last_step.learning_rates)
        self.skipped.append(run.last_step.skipped)


@pytest.mark.parametrize(
    ("schedule", "interval"), [*((name, "step") for name in shipped_names(SCHEDULES)), ("linear", "epoch")]
)
def test_learning_rates_follow_the_schedule_through_edits(start_run: StartRun, schedule: str, interval: str) -> None:
    settings = {"schedule": schedule, "schedule_interval": interval, "max_steps": 12, "warmup": "2st"}
    baseline, edited = RecordRates(), RecordRates()
    train(start_run([baseline], **settings))
    train(start_run([edited], **settings, timeline=TIMELINE))
    # The timeline halves the head's rate after step 1. It drops layer 0 after step 5, so that layer 1 becomes layer 0.
    expected = [rates["head"] * (1.0 if step < 1 else 0.5) for step, rates in enumerate(baseline.rates)]
    assert [rates["head"] for rates in edited.rates] == pytest.approx(expected, rel=1e-12)
    layer_rates = [rates["layer.1" if step < 5 else "layer.0"] for step, rates in enumerate(edited.rates)]
    assert layer_rates == pytest.approx([rates["layer.1"] for rates in baseline.rates], rel=1e-12)


def test_edits_are_applied_after_a_step_skipped_by_the_scaler(start_run: StartRun) -> None:
    class Overflow(Hook):
        def after_backward(self, run: Run, batch: Any) -> None:
            if run.clock.step in (1, 4):
                gradient = run.encoder_with_head.get_parameter("head.out.bias").grad
                assert gradient is not None
                gradient.fill_(float("inf"))  # as in fp16: gradients overflow before they are unscaled

    recorder = RecordRates()
    run = start_run([Overflow(), recorder], max_steps=8, timeline=TIMELINE)
    use_scaler(run)
    train(run)
    assert recorder.skipped == [step in (1, 4) for step in range(8)]
    assert len(run.journal) == 11  # all edits of the timeline
    trained = {p for p in run.encoder_with_head.parameters() if p.requires_grad}
    assert set(run.optimizer.state) == trained
    assert all(torch.isfinite(p).all() for p in run.encoder_with_head.parameters())


@pytest.mark.parametrize("step", range(1, 7))
def test_resumed_run_with_edits_ends_with_the_bits_of_an_uninterrupted_run(start_run: StartRun, step: int) -> None:
    class Save(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == step and run.start is None:  # not in the resumed run
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    settings = {"max_steps": 7, "timeline": TIMELINE, "head": {"name": "linear", "dropout": 0.1}, "dropout": 0.1}
    uninterrupted = start_run([Save()], **settings)
    train(uninterrupted)
    checkpoint: Path = uninterrupted.directory / "checkpoints" / f"step-{step:08d}"
    resumed = start_run([Save()], resume=checkpoint, **settings)
    train(resumed)
    assert weights_sha256(resumed.encoder_with_head) == weights_sha256(uninterrupted.encoder_with_head)
    assert resumed.journal == uninterrupted.journal
    journals = [(run.directory / "journal.jsonl").read_text() for run in (uninterrupted, resumed)]
    assert journals[0] == journals[1]


def test_edits_do_not_change_the_random_numbers_of_training(start_run: StartRun) -> None:
    states: list[torch.Tensor] = []

    class RecordState(Hook):
        def end_of_step(self, run: Run) -> None:
            states.append(torch.get_rng_state())

    settings = {"max_steps": 2, "head": "linear"}
    train(start_run([RecordState()], **settings))
    train(start_run([RecordState()], **settings, timeline=[{"at": "1st", "replace_head": "linear"}]))
    assert torch.equal(states[1], states[3])  # after the second step of each run


def test_dropout_is_disabled_only_in_frozen_blocks(start_run: StartRun) -> None:
    modes: list[dict[str, bool]] = []

    class RecordModes(Hook):
        def before_step(self, run: Run) -> None:
            dropouts = {
                "embeddings": "encoder.embeddings.dropout",
                "layer 0": "encoder.encoder.layer.0.output.dropout",
                "layer 1": "encoder.encoder.layer.1.output.dropout",
                "head": "head.dropout",
            }
            modes.append({name: run.encoder_with_head.get_submodule(path).training for name, path in dropouts.items()})

    timeline = [
        {"at": "1st", "freeze": ["encoder.embeddings", "encoder.layer[0]"]},
        {"at": "2st", "freeze": "encoder"},
        {"at": "3st", "unfreeze": "encoder.layer"},
    ]
    # Each evaluation switches all modules to evaluation mode and back.
    train(start_run([RecordModes()], timeline=timeline, max_steps=4, evaluate_every="1st"))
    assert [[name for name, is_training in step.items() if is_training] for step in modes] == [
        ["embeddings", "layer 0", "layer 1", "head"],
        ["layer 1", "head"],
        ["head"],
        ["layer 0", "layer 1", "head"],
    ]
