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
    AcceleratorState._reset_state()
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state()


@pytest.mark.parametrize("block_bytes", [1, 30, 10**6])  # gathered after each batch, after several, and once at the end
def test_row_gatherer_returns_values_in_the_order_of_the_rows(
    accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(gathering, "CHUNK_BYTES", block_bytes)
    gatherer = RowGatherer(accelerator, 5)
    for positions, weights in (([3, 1], [1.0, 1.0]), ([4, 0], [1.0, 1.0]), ([2, 0], [1.0, 0.0])):
        rows = torch.tensor(positions)
        gatherer.add(rows, torch.tensor(weights), rows * 10, torch.stack([rows, -rows], dim=1).double())
    scalars, pairs = gatherer.close()
    assert scalars.tolist() == [0, 10, 20, 30, 40]
    assert pairs.tolist() == [[0, 0], [1, -1], [2, -2], [3, -3], [4, -4]]
    assert scalars.dtype == np.int64
    assert pairs.dtype == np.float64


@pytest.mark.parametrize("positions", [[0, 1], [0, 1, 1, 2]])
def test_row_gatherer_asserts_that_each_row_occurs_once(accelerator: Accelerator, positions: list[int]) -> None:
    gatherer = RowGatherer(accelerator, 3)
    gatherer.add(torch.tensor(positions), torch.ones(len(positions)), torch.zeros(len(positions)))
    with pytest.raises(AssertionError, match=f"{sorted({positions.count(row) for row in range(3)})[-1]}"):
        gatherer.close()
