"""Fixtures: a short finished run, and copies of its files that tests may change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from research import RunConfig, RunResult, run_experiment
from tests.conftest import WORDS

Train = Callable[..., RunResult]
"""Type of the fixture `train`: takes a run directory and settings, returns the result."""


@pytest.fixture
def must_not_be_created(tmp_path: Path) -> Iterator[Path]:
    """Path of a file that hostile code would create. After the test, this fixture asserts that it does not exist."""
    path = tmp_path / "created_by_hostile_code"
    yield path
    assert not path.exists(), "hostile code was run"


@pytest.fixture(scope="session")
def train(tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path) -> Train:
    """A function that trains for three steps in this process, called as `train(directory, resume=...)`."""
    settings: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "max_length": 32,
        "batch_size": 8,
        "max_steps": 3,
        "mixed_precision": "no",
        "num_threads": 1,
        "evaluate_every": None,
        "save_every": "2st",  # after step 2, and at the end, after step 3
        "log_with": [],
        "report": False,
    }

    def run(directory: Path, **changes: Any) -> RunResult:
        num_threads = torch.get_num_threads()
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
            try:
                return run_experiment(RunConfig(**{**settings, "output_dir": str(directory), **changes}))
            finally:
                torch.set_num_threads(num_threads)

    return run


@pytest.fixture(scope="session")
def finished_run(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a finished run; tests change copies of it."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    train(directory)
    return directory


@pytest.fixture
def checkpoint(finished_run: Path, tmp_path: Path) -> Path:
    """Copy of the finished run's checkpoint after step 2; tests may change it."""
    return shutil.copytree(finished_run / "checkpoints" / "step-00000002", tmp_path / "checkpoint")


@pytest.fixture
def encoder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """Copy of the tiny encoder; tests may change it."""
    return shutil.copytree(tiny_encoder, tmp_path / "encoder")


@pytest.fixture(scope="session")
def tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with multi-label data: short texts, tagged with the sentiment words that they contain."""
    folder = tmp_path_factory.mktemp("data") / "tags"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, num_rows in (("train", 48), ("validation", 40), ("test", 24)):
        lines = []
        for row in range(num_rows):
            words = generator.choice(WORDS, size=generator.integers(2, 12))
            labels = sorted({word for word in words if word in ("good", "bad", "warm")})
            lines.append(json.dumps({"text": f"{split} {row} {' '.join(words)}", "labels": labels}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
