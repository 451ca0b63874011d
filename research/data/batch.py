"""What the collator makes of rows, and the objective gets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One micro-batch, padded to its own longest row."""

    inputs: dict[str, Tensor]
    """Arguments of the encoder's forward: input_ids, attention_mask and, where the family has them, token_type_ids;
    each [batch, seq], int64."""
    labels: Tensor
    """[batch] int64 (single_label), [batch, num_labels] float (multi_label), [batch] float (regression)."""
    weights: Tensor
    """[batch] float: 1 for an example, 0 for a row that only fills up a process's share."""
    ids: Tensor
    """[batch] int64: the row of each example in its split."""

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return Batch(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            self.labels.to(device, non_blocking=True),
            self.weights.to(device, non_blocking=True),
            self.ids.to(device, non_blocking=True),
        )
