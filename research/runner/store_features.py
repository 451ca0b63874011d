"""Compute the hidden states of a frozen encoder in advance, for several runs that share them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from research.features.cache import Layers
from research.runner.resolve import resolve
from research.runner.set_up import set_up
from research.settings.config import RunConfig
from research.training.accelerator import create_accelerator, release


def ensure_features(config: RunConfig, layers: Layers) -> bool:
    """Compute and store the hidden states of all splits of a run, unless they are stored already.

    Args:
        config: settings of one of the runs.
        layers: "all" if the head of any run reads all layers (which include the last one), otherwise "last".
    Returns:
        Whether the runs can train on stored hidden states; if not, the reason has been reported.
    Raises:
        ValueError: if settings or data are invalid, as in the run itself.
    """
    config = resolve(config)
    with tempfile.TemporaryDirectory() as unused_folder:  # no run starts, so nothing is written to this folder
        accelerator = create_accelerator(config, unused_folder)
        try:
            return set_up(config, Path(unused_folder), accelerator, None, (), layers).batches.features is not None
        finally:
            release(accelerator)
