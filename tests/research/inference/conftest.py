"""A tiny trained run, shared by the tests of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.trained_run import train_tiny_run


@pytest.fixture(scope="module")
def trained_run(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a short run with an LSTM head, a cleaning step, and texts that are longer than max_length."""
    return train_tiny_run(
        tmp_path_factory.mktemp("runs") / "lstm",
        tiny_encoder,
        tiny_reviews,
        cache_dir,
        head={"name": "lstm", "lstm_size": 8},
        cleaning=["lowercase"],
        max_length=8,
    )
