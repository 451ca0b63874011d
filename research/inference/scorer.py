"""Compute the logits of texts with a trained model."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

from research.data.batches.batch import Batch
from research.data.batches.tokens import tokenize_texts
from research.inference.saved_model import SavedModel
from research.tasks.base import Floats


class Scorer:
    """Computes logits in batches of texts of similar length.

    The logits of a call depend only on its texts, not on earlier calls.

    Args:
        saved: the trained model; it is moved to the device.
        device: device for the model; by default a GPU if there is one, otherwise the CPU.
        batch_size: maximum number of texts in one batch.
        bf16: whether to compute in bfloat16 (autocast).
    """

    def __init__(
        self,
        saved: SavedModel,
        *,
        device: torch.device | None = None,
        batch_size: int = 32,
        bf16: bool = False,
    ) -> None:
        self.saved = saved
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = batch_size
        self.bf16 = bf16
        saved.model.to(self.device)  # type: ignore[arg-type]

    def __call__(self, rows: Sequence[Sequence[str]]) -> Floats:
        """Return the logits of rows, [num_rows, num_labels] float32.

        Args:
            rows: one cleaned text per row or, for a model of pairs, two.
        """
        logits = np.empty((len(rows), self.saved.task.num_labels), dtype=np.float32)
        columns = self.tokenize(rows)
        lengths = np.sum([[len(ids) for ids in column] for column in columns.values()], axis=0)
        # Longest first, so that memory does not grow towards the end.
        order = np.argsort(-lengths, kind="stable")
        with torch.inference_mode(), self.autocast():
            for start in range(0, len(rows), self.batch_size):
                indices = order[start : start + self.batch_size]
                batch = self.collate(columns, indices).to(self.device)
                logits[indices] = self.saved.model(**batch.inputs).logits.float().cpu().numpy()
        return logits

    def tokenize(self, rows: Sequence[Sequence[str]]) -> dict[str, list[list[int]]]:
        """Return the columns that a collator takes: token ids, untruncated and without special tokens."""
        names = ("input_ids", "pair_ids")[: len(self.saved.inputs.text_columns)]
        return {
            name: tokenize_texts(self.saved.tokenizer, [row[index] for row in rows]) if rows else []
            for index, name in enumerate(names)
        }

    def collate(self, columns: dict[str, list[list[int]]], indices: Sequence[int] | np.ndarray[Any, Any]) -> Batch:
        """Return the batch of some rows that `tokenize` has tokenized."""
        chosen: dict[str, list[Any]] = {name: [column[index] for index in indices] for name, column in columns.items()}
        return self.saved.collator({**chosen, "id": list(indices), "label": [None] * len(indices)})

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context that computes in the chosen precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()
