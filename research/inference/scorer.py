"""Compute the logits of texts with a trained model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from research.data.batches.batch import Batch
from research.data.batches.tokens import check_token_ids, spaces_before_texts, tokenize_texts
from research.inference.saved_model import SavedModel
from research.tasks.base import Floats
from research.training.accelerator import Precision

Indices = NDArray[np.int64]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Data type of autocast for each reduced precision."""
_CPU_BATCH_TOKENS = 2048
"""Maximum number of tokens in a batch on a CPU. Larger batches do not fit its caches: without this limit, MiniLM takes
1.4 times as long for reviews and sentences of 140 tokens on average."""


class Scorer:
    """Computes logits in batches of texts of similar length.

    The logits of a call depend only on its texts, not on earlier calls.

    Args:
        saved: the trained model; it is moved to the device.
        device: device for the model; by default a GPU if there is one, otherwise the CPU.
        batch_size: maximum number of texts in one batch. On a CPU, batches of long texts are smaller.
        precision: floating-point precision of the forward pass: float32 (no), or autocast to bf16 or fp16.
    """

    def __init__(
        self,
        saved: SavedModel,
        *,
        device: torch.device | None = None,
        batch_size: int = 32,
        precision: Precision = "no",
    ) -> None:
        self.saved = saved
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = batch_size
        self.precision = precision
        saved.model.to(self.device)  # type: ignore[arg-type]

    def __call__(self, rows: Sequence[Sequence[str]], *, after_batch: Callable[[int], None] | None = None) -> Floats:
        """Return the logits of rows, [num_rows, num_labels] float32.

        Args:
            rows: one cleaned text per row or, for a model of pairs, two.
            after_batch: called after each batch with its number of rows.
        """
        logits = np.empty((len(rows), self.saved.task.num_labels), dtype=np.float32)
        columns = self.tokenize(rows)
        batches = list(self.split(columns))
        outputs = []
        with torch.inference_mode(), self.autocast():
            for indices in batches:
                batch = self.collate(columns, indices).to(self.device)
                outputs.append(self.saved.model(**batch.inputs).logits.float())
                if after_batch is not None:
                    after_batch(len(indices))
        if outputs:  # copied only now, so that a GPU does not wait while the next batch is collated
            logits[np.concatenate(batches)] = torch.cat(outputs).cpu().numpy()
        return logits

    def tokenize(self, rows: Sequence[Sequence[str]]) -> dict[str, list[list[int]]]:
        """Return the columns that a collator takes: token ids, untruncated, without special tokens and template.

        Raises:
            ValueError: if a token has no embedding.
        """
        names = ("input_ids", "pair_ids")[: len(self.saved.inputs.text_columns)]
        spaces = spaces_before_texts(self.saved.inputs.parsed_template)
        columns = {
            name: tokenize_texts(self.saved.tokenizer, [row[index] for row in rows], spaces[index]) if rows else []
            for index, name in enumerate(names)
        }
        ids = (each for column in columns.values() for row in column for each in row)
        check_token_ids(ids, self.saved.tokenizer, self.saved.model.encoder.config.vocab_size)
        return columns

    def split(self, columns: dict[str, list[list[int]]]) -> Iterator[Indices]:
        """Yield the indices of the rows of each batch. The longest rows come first, so that memory does not grow."""
        lengths = np.sum([[len(ids) for ids in column] for column in columns.values()], axis=0)
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            num_rows = self.batch_size
            if self.device.type == "cpu":
                length = min(int(lengths[order[start]]), self.saved.collator.max_row_length)
                num_rows = min(num_rows, max(1, _CPU_BATCH_TOKENS // max(1, length)))
            yield order[start : start + num_rows]
            start += num_rows

    def collate(self, columns: dict[str, list[list[int]]], indices: Sequence[int] | Indices) -> Batch:
        """Return the batch of some rows that `tokenize` has tokenized."""
        chosen: dict[str, list[Any]] = {name: [column[index] for index in indices] for name, column in columns.items()}
        return self.saved.collator({**chosen, "id": list(indices), "label": [None] * len(indices)})

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context that computes in the chosen precision."""
        if self.precision == "no":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _DTYPES[self.precision])
