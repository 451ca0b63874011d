"""Batches, which the collator creates for the model and the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One micro-batch, padded to the width that its longest row needs."""

    inputs: dict[str, Any]
    """Arguments of the model's forward: input_ids, attention_mask and, if the encoder takes them, token_type_ids; each
    [batch, seq], int64. If a row has several windows, also windows: [batch, windows, 2] (see `Collator.__call__`). If
    hidden states are read from the feature cache, also hidden_states: [batch, seq, hidden], or a tuple of such tensors
    for a head that reads all layers. If they are stored pooled, pooled_states instead, in which seq is 1."""
    labels: Tensor
    """Labels as returned by `Task.label_array`: [batch] int64 or float, or [batch, num_labels] float. For rows without
    labels, which are only predicted, the placeholders returned by `Task.missing_labels`."""
    weights: Tensor
    """Weight of each row: 0 for a copy added to give all processes equally many rows, otherwise 1, [batch] float."""
    ids: Tensor
    """Id of each row, which is its number in the files of its split, [batch] int64."""

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""

        def move(value: Any) -> Any:
            return tuple(map(move, value)) if isinstance(value, tuple) else value.to(device, non_blocking=True)

        inputs = {name: move(value) for name, value in self.inputs.items()}
        return Batch(inputs, move(self.labels), move(self.weights), move(self.ids))
