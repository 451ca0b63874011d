"""Train a tiny model in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from research import RunConfig, run_experiment


def train_tiny_run(directory: Path, encoder: Path, data: Path, cache_dir: Path, **settings: Any) -> Path:
    """Train for three steps, and return the run directory.

    Args:
        directory: the run directory.
        encoder: a tiny encoder.
        data: a few rows of data.
        cache_dir: directory of the cache.
        settings: further settings of the run.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDWAY_CACHE", str(cache_dir))
        run_experiment(
            RunConfig(
                encoder=str(encoder),
                data=str(data),
                max_steps=3,
                mixed_precision="no",
                num_threads=1,
                report=False,
                log_with=[],
                output_dir=str(directory),
                **settings,
            )
        )
    return directory
