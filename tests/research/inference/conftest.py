"""A tiny trained run, shared by the tests of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from research import RunConfig, run_experiment


@pytest.fixture(scope="module")
def trained_run(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of a short run with an LSTM head, a cleaning step, and texts that are longer than max_length."""
    directory = tmp_path_factory.mktemp("runs") / "lstm"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDWAY_CACHE", str(cache_dir))
        run_experiment(
            RunConfig(
                encoder=str(tiny_encoder),
                data=str(tiny_reviews),
                head={"name": "lstm", "lstm_size": 8},
                cleaning=["lowercase"],
                max_length=8,
                max_steps=3,
                mixed_precision="no",
                report=False,
                log_with=[],
                output_dir=str(directory),
            )
        )
    return directory
