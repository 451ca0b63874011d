"""Fixtures for runs with a tiny encoder in the test process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState

from research import Hook, RunConfig
from research.runner.resolve import resolve
from research.runner.set_up import set_up
from research.training.accelerator import close_trackers, create_accelerator
from research.training.checkpoint.find import StartCheckpoint, find_fork_checkpoint
from research.training.run import TrainingRun
from tests.messages import collect_messages

StartRun = Callable[..., TrainingRun]


def use_scaler(run: TrainingRun, init_scale: float = 8.0) -> None:
    """Give a run on a CPU the kind of gradient scaler that fp16 training uses on a GPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)
    run.accelerator.scaler = scaler
    run.optimizer = AcceleratedOptimizer(run.optimizer.optimizer, scaler=scaler)  # type: ignore[attr-defined]
    run.accelerator._optimizers[:] = [run.optimizer]
    run.accelerator.unscale_gradients = lambda optimizer: scaler.unscale_(optimizer.optimizer)


@pytest.fixture
def tiny_settings(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Settings of a very short run; it uses the cache of the test session."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    return {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "batch_size": 8,
        "max_length": 32,
        "mixed_precision": "no",
    }


@pytest.fixture(params=["no", "bf16"])
def accelerator(request: pytest.FixtureRequest) -> Iterator[Accelerator]:
    """An Accelerator on the CPU; a test that uses it runs in float32 and in bf16."""
    AcceleratorState._reset_state()
    yield Accelerator(mixed_precision=request.param, cpu=True)
    AcceleratorState._reset_state()


@pytest.fixture
def start_run(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StartRun]:
    """`start_run([hook], max_steps=3)` returns a run that is ready to train, in float32 and without dropout.

    If a list `messages` is passed, the run's messages are appended to it.
    """
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    started: list[TrainingRun] = []

    def start_one(
        hooks: Sequence[Hook] = (), *, resume: Path | None = None, messages: list[str] | None = None, **settings: Any
    ) -> TrainingRun:
        directory = tmp_path / f"run-{len(started)}"
        directory.mkdir(exist_ok=True)  # a run that failed to start has created it already
        defaults = {
            "encoder": str(tiny_encoder),
            "data": str(tiny_reviews),
            "head": {"name": "linear", "dropout": 0.0},
            "dropout": 0.0,
            "batch_size": 8,
            "max_length": 32,
            "max_steps": 4,
            "mixed_precision": "no",
            "evaluate_every": None,
            "log_with": [],
        }
        config = resolve(RunConfig(**{**defaults, **settings}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of accelerate itself
            accelerator = create_accelerator(config, str(directory))
            start = None if resume is None else StartCheckpoint(resume)
            if config.fork is not None:
                start = StartCheckpoint(find_fork_checkpoint(config.fork), is_fork=True)
            with collect_messages(messages):
                run = set_up(config, directory, accelerator, start, hooks)
        started.append(run)
        return run

    yield start_one
    for run in started:
        close_trackers(run.accelerator)
    if torch.distributed.is_initialized():  # by a run with --shard
        torch.distributed.destroy_process_group()
