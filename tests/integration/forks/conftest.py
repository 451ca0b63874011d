"""Fixtures: a finished run of twelve steps, and functions that train and fork."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from research import Hook, RunConfig, RunResult, register_edit, run_experiment
from research.edits.base import Editable
from research.learning.optimizer import apply_schedule

Train = Callable[..., RunResult]
"""Function that trains in this process, and returns the result."""


@register_edit("rates_by_schedule", touches="nothing")
def rates_by_schedule(run: Editable) -> None:
    """Multiply all base learning rates by the current factor of the schedule."""
    for group in run.optimizer.param_groups:
        group["base_lr"] *= run.schedule.factor
    apply_schedule(run.optimizer, run.schedule)


@pytest.fixture(scope="session")
def settings(tiny_encoder: Path, tiny_reviews: Path) -> dict[str, Any]:
    return {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "max_length": 32,
        "batch_size": 8,
        "epochs": 2,
        "head": {"name": "linear", "dropout": 0.1},
        "timeline": [{"at": "2st", "freeze": "encoder.layer[0]"}, {"at": "75%", "unfreeze": "encoder"}],
        "hook": ["ema"],
        "evaluate_every": "2st",
        "save_every": "4st",
        "keep": 9,
        "log_every": 1,
        "log_with": [],
        "mixed_precision": "no",
        "num_threads": 1,
        "report": False,
    }


@pytest.fixture(scope="session")
def parent(settings: dict[str, Any], cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of 12 steps, with checkpoints after steps 4, 8 and 12."""
    folder = tmp_path_factory.mktemp("parent") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDWAY_CACHE", str(cache_dir))
        run_experiment(RunConfig(**settings, output_dir=str(folder)))
    return folder


@pytest.fixture
def train(settings: dict[str, Any], cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """A function that trains with the parent's settings except for the given ones: `train("long", epochs=4)`.

    The first argument names the run directory, a folder in tmp_path.
    """
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))

    def run(name: str, *, hooks: list[Hook] | None = None, **changed: Any) -> RunResult:
        config = RunConfig(**settings | {"output_dir": str(tmp_path / name)} | changed)
        return run_experiment(config, hooks=hooks or [])

    return run


@pytest.fixture
def fork(train: Train, parent: Path) -> Train:
    """A function that forks the parent with changed settings, by default at step 4: `fork("long", 8, epochs=4)`.

    To fork a different run, give its checkpoint as `fork`.
    """

    def run(name: str = "fork", step: int = 4, **changed: Any) -> RunResult:
        return train(name, **{"fork": f"{parent}@step-{step}"} | changed)

    return run
