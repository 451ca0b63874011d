"""Hooks are validated, called at their points in order, and keep their state."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from heads.registry import UnknownNameError
from research import RunConfig, run_experiment
from research.data.batches.batch import Batch
from research.training.api import Run
from research.training.hook import HOOKS, POINTS, Hook, register_hook
from tests.shipped import shipped_names


def test_hook_refuses_a_misspelt_point() -> None:
    with pytest.raises(UnknownNameError, match=r"'after_stpe'.*'after_step'\?.*Misspelt"):

        class Misspelt(Hook):
            def after_stpe(self, run: Run) -> None:
                """Never called."""


def test_hook_accepts_methods_that_are_not_named_like_points() -> None:
    class WithOwnMethods(Hook):
        def _after_thought(self) -> None:
            """Not a point."""

        def count(self) -> None:
            """Not a point."""

    assert isinstance(WithOwnMethods(), Hook)


def test_register_hook_refuses_classes_that_are_not_hooks() -> None:
    with pytest.raises(ValueError, match=r"not_a_hook.* Hook; .*int"):
        register_hook("not_a_hook")(int)
    assert "not_a_hook" not in HOOKS


class Recorder(Hook):
    """Records the points that are called. The loop looks up a point on the hook only to call it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in POINTS:
            calls = object.__getattribute__(self, "calls")
            calls.append(name)
        return object.__getattribute__(self, name)


@pytest.fixture
def config(tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path, monkeypatch: Any) -> RunConfig:
    """Settings of a run with two steps of two micro-batches each."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    return RunConfig(
        encoder=str(tiny_encoder),
        data=str(tiny_reviews),
        max_length=64,
        batch_size=24,
        micro_batch_size=12,
        mixed_precision="no",
        evaluate_every=None,
        log_with=[],
        output_dir=str(tmp_path / "run"),
    )


class RoundTrip(Hook):
    """At the end of training, loads each hook's state into a new hook of the same class."""

    def __init__(self, hooks: dict[str, Hook]) -> None:
        self.hooks = hooks
        self.states: dict[str, dict[str, Any]] = {}
        self.restored_states: dict[str, dict[str, Any]] = {}

    def on_train_end(self, run: Run) -> None:
        for name, hook in self.hooks.items():
            restored = HOOKS[name](**OPTIONS.get(name, {}))
            self.states[name] = hook.state_dict()
            restored.load_state_dict(copy.deepcopy(self.states[name]))
            restored.on_resume(run)
            self.restored_states[name] = restored.state_dict()


OPTIONS = {"length_warmup": {"start": 16}}
"""Options of hooks whose defaults do not fit `config`: length_warmup must start below its max_length."""
WITH_STATE = {"early_stopping", "ema", "loss_spike_guard", "swa"}
"""Hooks whose state changes during the run of the following test."""


def test_every_hook_restores_its_state_after_a_run(config: RunConfig) -> None:
    hooks = {name: HOOKS[name](**OPTIONS.get(name, {})) for name in shipped_names(HOOKS)}
    initial_states = {name: copy.deepcopy(hook.state_dict()) for name, hook in hooks.items()}
    round_trip = RoundTrip(hooks)
    config_with_evaluations = dataclasses.replace(config, evaluate_every="1st")
    run_experiment(config_with_evaluations, hooks=[*hooks.values(), round_trip])
    assert {name for name in hooks if not is_same(initial_states[name], round_trip.states[name])} == WITH_STATE
    assert [
        name for name, state in round_trip.states.items() if not is_same(state, round_trip.restored_states[name])
    ] == []


def is_same(first: object, second: object) -> bool:
    """Return whether two states are equal, tensors bit by bit."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(is_same(first[key], second[key]) for key in first)
    return first == second


def test_points_are_called_in_the_documented_order(config: RunConfig) -> None:
    recorder = Recorder()
    run_experiment(config, hooks=[recorder])
    micro_batch = ["on_batch", "after_backward"]
    step = [*micro_batch, *micro_batch, "before_step", "after_step"]
    evaluation = ["before_evaluate", "after_evaluate"]
    assert recorder.calls == [
        *("on_train_start", "on_epoch_start"),
        *(*step, "end_of_step"),
        *(*step, *evaluation, "end_of_step"),
        *("on_epoch_end", "on_train_end"),
        *evaluation,  # the test split
    ]


def test_hook_can_change_batches_access_gradients_and_log_values(config: RunConfig) -> None:
    widths: list[int] = []

    class ChangeTraining(Hook):
        def on_batch(self, run: Run, batch: Batch) -> Batch:
            inputs = {name: tensor[:, :5] for name, tensor in batch.inputs.items()}
            return Batch(inputs, batch.labels, batch.weights, batch.ids)

        def before_step(self, run: Run) -> None:
            for parameter in run.encoder_with_head.encoder.parameters():
                assert parameter.grad is not None
                parameter.grad.zero_()
            run.log({"answer": 42.0})

    class RecordWidth(Hook):
        def on_batch(self, run: Run, batch: Batch) -> None:
            widths.append(batch.inputs["input_ids"].shape[1])

    run_experiment(config, hooks=[ChangeTraining(), RecordWidth()])
    assert set(widths) == {5}
    lines = [json.loads(line) for line in (Path(str(config.output_dir)) / "metrics.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines] == [42.0, 42.0]


def test_backward_in_after_backward_accumulates_gradients(config: RunConfig) -> None:
    norms: list[float] = []

    class RepeatBackward(Hook):
        def __init__(self, times: int) -> None:
            self.times = times

        def after_backward(self, run: Run, batch: Batch) -> None:
            for _ in range(self.times - 1):
                run.backward(batch)

        def after_step(self, run: Run) -> None:
            assert run.last_step is not None
            norms.append(run.last_step.gradient_norm)

    for times in (1, 3):
        path = f"{config.output_dir}-{times}"
        settings = {
            **config.to_dict(),
            "output_dir": path,
            "max_steps": 1,
            "dropout": 0.0,
            "head": {"name": "mean", "dropout": 0},
        }
        run_experiment(RunConfig(**settings), hooks=[RepeatBackward(times)])
    assert norms[1] == pytest.approx(3 * norms[0], rel=1e-4)


def test_hook_can_stop_the_run(config: RunConfig) -> None:
    class Stop(Hook):
        def after_step(self, run: Run) -> None:
            run.stop("enough")

    result = run_experiment(config, hooks=[Stop()])
    assert (result["steps"], result["stopped_because"]) == (1, "enough")
    assert "accuracy" in result["metrics"]["validation"]
