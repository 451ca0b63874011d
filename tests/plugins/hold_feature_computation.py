"""A plugin for the tests: pauses a run in the middle of computing hidden states, until a file appears.

The environment variable HOLD names a folder. When a process has computed the second batch of hidden states of a split,
it creates the file `<process id>-<split>` in this folder, with its number of threads, and pauses. All processes
continue once the folder contains a file `go`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from research.data.batches.order import RowIndices
from research.features import compute
from research.features.cache import Layers
from research.training.run import TrainingRun

compute_without_holding = compute.compute_hidden_states


def compute_and_hold(run: TrainingRun, split: str, order: RowIndices, layers: Layers) -> Iterator[tuple[Tensor, ...]]:
    folder = Path(os.environ["HOLD"])
    for num_yielded, states in enumerate(compute_without_holding(run, split, order, layers)):
        if num_yielded == 1:
            (folder / f"{os.getpid()}-{split}").write_text(str(torch.get_num_threads()))
            end = time.monotonic() + 1800  # a guard against hanging
            while not (folder / "go").exists():
                assert time.monotonic() < end, "expected a file go; it did not appear within 1800 s"
                time.sleep(0.01)
        yield states


compute.compute_hidden_states = compute_and_hold
