"""A plugin for the tests: pauses a run while it computes hidden states, until a file appears.

The environment variable HOLD is a folder. A file `<process id>-<split>` in it shows that the hidden states of this
split are partly written; a file `go` ends all waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from research.data.batches.order import RowIndices
from research.features import compute
from research.features.cache import Layers
from research.training.run import TrainingRun

original = compute.compute_hidden_states


def hold(run: TrainingRun, split: str, order: RowIndices, layers: Layers) -> Iterator[tuple[Tensor, ...]]:
    folder = Path(os.environ["HOLD"])
    for number, states in enumerate(original(run, split, order, layers)):
        if number == 1:
            (folder / f"{os.getpid()}-{split}").touch()
            end = time.monotonic() + 1800  # a guard against hanging
            while not (folder / "go").exists():
                assert time.monotonic() < end, "the file that ends the waiting did not appear"
                time.sleep(0.01)
        yield states


compute.compute_hidden_states = hold
