"""Hidden states computed before the runs that share them begin."""

from __future__ import annotations

import tempfile
from pathlib import Path

from research.features.cache import Layers
from research.runner.resolve import resolve
from research.runner.set_up import set_up
from research.settings.config import RunConfig
from research.training.accelerator import create_accelerator, end_run


def ensure_features(config: RunConfig, layers: Layers) -> bool:
    """Store the hidden states of all splits of a run, if they are not there yet.

    Args:
        config: settings of one of the runs.
        layers: "all" if the head of any of them reads all; the others find the last layer among them.
    Returns:
        Whether such a run trains on stored hidden states; where not, it was said why.
    Raises:
        ValueError: for settings or data that cannot be used, as the run itself.
    """
    config = resolve(config)
    with tempfile.TemporaryDirectory() as nothing:  # no run begins, and nothing is written
        accelerator = create_accelerator(config, nothing)
        try:
            return set_up(config, Path(nothing), accelerator, None, (), layers).batches.features is not None
        finally:
            end_run(accelerator)
