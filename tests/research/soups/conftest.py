"""Tiny runs whose models are averaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders.trained_run import train_tiny_run

TrainRun = Callable[..., Path]


@pytest.fixture(scope="package")
def train_run(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainRun:
    """A function that trains for three steps with the given settings, and returns the run directory."""

    def train(name: str, **settings: Any) -> Path:
        directory = tmp_path_factory.mktemp("runs") / name
        defaults: dict[str, Any] = {"lr": 1e-3, "batch_size": 8, "max_length": 16}
        encoder, data = settings.pop("encoder", tiny_encoder), settings.pop("data", tiny_reviews)
        return train_tiny_run(directory, encoder, data, cache_dir, **defaults | settings)

    return train


@pytest.fixture(scope="package")
def runs(train_run: TrainRun) -> list[Path]:
    """Three runs that differ in the seed; the first has a checkpoint after each step."""
    return [
        train_run("first", seed=0, save_every="1st", keep=9),
        train_run("second", seed=1),
        train_run("third", seed=2, head={"name": "linear", "dropout": 0.3}),
    ]
