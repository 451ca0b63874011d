"""Values of a split are gathered in the order of its rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from research.training import gathering
from research.training.gathering import RowGatherer


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    """An accelerator for one process on the CPU, created without the state of earlier accelerators."""
    AcceleratorState._reset_state()
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state()


@pytest.mark.parametrize("chunk_bytes", [1, 30, 10**6])  # gathered after each batch, after several, and once at the end
def test_row_gatherer_returns_values_in_the_order_of_the_rows(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(gathering, "CHUNK_BYTES", chunk_bytes)
    gatherer = RowGatherer(accelerator, num_rows=5)
    # The last batch is filled up with row 0, which has weight 0 there.
    for positions, weights in (([3, 1], [1.0, 1.0]), ([4, 0], [1.0, 1.0]), ([2, 0], [1.0, 0.0])):
        rows = torch.tensor(positions)
        gatherer.add(rows, torch.tensor(weights), rows * 10, torch.stack([rows, -rows], dim=1).double())
    scalars, pairs = gatherer.finish()
    assert scalars.tolist() == [0, 10, 20, 30, 40]
    assert pairs.tolist() == [[0, 0], [1, -1], [2, -2], [3, -3], [4, -4]]
    assert scalars.dtype == np.int64
    assert pairs.dtype == np.float64


@pytest.mark.parametrize(
    ("positions", "counts"),
    [
        ([0, 1], r"\[0 1\]"),  # row 2 is missing
        ([0, 1, 1, 2], r"\[1 2\]"),  # row 1 occurs twice
    ],
)
def test_row_gatherer_asserts_that_each_row_occurs_once(
    accelerator: Accelerator, positions: list[int], counts: str
) -> None:
    gatherer = RowGatherer(accelerator, num_rows=3)
    gatherer.add(torch.tensor(positions), torch.ones(len(positions)), torch.zeros(len(positions)))
    with pytest.raises(AssertionError, match=counts):
        gatherer.finish()
