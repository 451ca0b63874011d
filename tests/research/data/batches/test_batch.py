"""Move batches to a device."""

from __future__ import annotations

import torch

from research.data.batches.batch import Batch


def test_to_moves_all_tensors_of_a_batch() -> None:
    inputs = {
        "input_ids": torch.tensor([[1, 2], [3, 0]]),
        "hidden_states": (torch.zeros(2, 2, 4), torch.ones(2, 2, 4)),  # for a head that reads all layers
    }
    batch = Batch(inputs, labels=torch.tensor([0, 1]), weights=torch.tensor([1.0, 0.0]), ids=torch.tensor([7, 9]))
    assert len(batch) == 2
    moved = batch.to(torch.device("meta"))
    tensors = [moved.inputs["input_ids"], *moved.inputs["hidden_states"], moved.labels, moved.weights, moved.ids]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert [tuple(tensor.shape) for tensor in tensors] == [(2, 2), (2, 2, 4), (2, 2, 4), (2,), (2,), (2,)]
    assert isinstance(moved.inputs["hidden_states"], tuple)
    assert batch.ids.tolist() == [7, 9]  # the original batch is not moved
