"""Fixtures: complete and interrupted runs of six steps, which tests copy and damage."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from research import Hook, RunConfig, RunResult, run_experiment
from tests.builders.faulty_runs import (
    SHORT_RUN,
    CallAt,
    InterruptedRunError,
    RunResults,
    Train,
    checkpoint_names,
    interrupt_run,
    read_run_results,
)
from tests.conftest import Launch


@pytest.fixture(scope="session")
def settings(tiny_encoder: Path, tiny_reviews: Path) -> dict[str, Any]:
    """Settings of a run of six steps, with checkpoints after steps 2, 4 and 6."""
    return {"encoder": str(tiny_encoder), "data": str(tiny_reviews), **SHORT_RUN}


@pytest.fixture(scope="session")
def flags(settings: dict[str, Any]) -> list[str]:
    """The settings as command-line flags."""
    return [f"--{name}={','.join(value) if isinstance(value, list) else value}" for name, value in settings.items()]


@pytest.fixture(scope="session")
def num_threads() -> int:
    """The number of threads that torch uses before any run changes it."""
    return torch.get_num_threads()


@pytest.fixture(scope="module", autouse=True)
def restore_num_threads(num_threads: int) -> Iterator[None]:
    """After the tests of a file, restore the number of threads that torch uses."""
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def train(settings: dict[str, Any], cache_dir: Path, num_threads: int) -> Train:
    """A function that trains in this process: `train(directory, CallAt(...), resume="auto")`."""

    def run(directory: Path, *hooks: Hook, **changed: Any) -> RunResult:
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
            return run_experiment(RunConfig(**{**settings, "output_dir": str(directory), **changed}), hooks=hooks)

    return run


@pytest.fixture(scope="session")
def finished_run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run without faults. Tests change copies of it."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    train(directory, CallAt(), report=True)
    return directory


@pytest.fixture(scope="session")
def uninterrupted_results(finished_run: Path) -> RunResults:
    """The results of the run without faults, which recovered runs must reproduce."""
    return read_run_results(finished_run)


@pytest.fixture(scope="session")
def finished_run_of_two_processes(launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of two processes without faults."""
    directory = tmp_path_factory.mktemp("finished_by_two") / "run"
    launch([*flags, "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture(scope="session")
def interrupted_run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was interrupted in step 5. Tests change copies of it."""
    directory = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.raises(InterruptedRunError):
        train(directory, CallAt("after_step", 5, interrupt_run))
    assert checkpoint_names(directory) == ["step-00000002", "step-00000004"]
    return directory


@pytest.fixture
def interrupted_copy(interrupted_run: Path, tmp_path: Path) -> Path:
    """The directory of a copy of the interrupted run, which the test may change."""
    return shutil.copytree(interrupted_run, tmp_path / "run")
