"""What the collator makes of rows, and the objective gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One micro-batch, padded to its own longest row."""

    inputs: dict[str, Any]
    """Arguments of the model's forward: input_ids, attention_mask and, where the family has them, token_type_ids; each
    [batch, seq], int64. Where a frozen encoder is not run again, hidden_states too: [batch, seq, hidden], or a tuple of
    such for a head that reads all layers."""
    labels: Tensor
    """[batch] int64 or float, or [batch, num_labels] float: what `Task.label_array` returns. Rows without labels, which
    are only predicted, have what `Task.missing_labels` returns."""
    weights: Tensor
    """[batch] float: 1 for an example, 0 for a row that only fills up a process's share."""
    ids: Tensor
    """[batch] int64: the row of each example in its split."""

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""

        def move(value: Any) -> Any:
            return tuple(map(move, value)) if isinstance(value, tuple) else value.to(device, non_blocking=True)

        inputs = {name: move(value) for name, value in self.inputs.items()}
        return Batch(inputs, move(self.labels), move(self.weights), move(self.ids))
