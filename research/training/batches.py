"""The rows of a run, and the batches made from them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from research.data.batches.batch import Batch
from research.data.batches.collate import Collator
from research.data.batches.order import MicroBatch
from research.data.batches.train_rows import PreparedRows, TrainRows
from research.data.batches.windows import WindowSample
from research.data.prepare.load import Splits
from research.model.encoder_with_head import EncoderWithHead
from research.settings.config import Sampling
from research.system.events import report_hidden_states
from research.system.heap import HeapTrimmer
from research.training.stored_features import StoredFeatures


@dataclass
class Batches:
    """Makes the batches of one process."""

    texts: Splits
    """Training, validation and test rows as text, before tokenization."""
    splits: Splits
    """Training, validation and test rows, tokenized."""
    collator: Collator
    """Makes batches from rows; its `max_length` may change between steps."""
    device: torch.device
    """Device to which batches are moved."""
    sampling: Sampling = "natural"
    """Shares of the labels in an epoch of prepared training rows."""
    stream: TrainRows | None = None
    """The training rows if they are streamed; None if they are prepared."""
    features: StoredFeatures | None = None
    """Stored hidden states of a frozen encoder; None if the encoder is run."""
    cache_disabled: bool = False
    """Whether this run had to stop using stored hidden states. If so, it runs the encoder from then on."""
    heap_trimmer: HeapTrimmer = field(default_factory=HeapTrimmer)
    """Returns freed memory to the system every few batches, so that the memory of a run on a CPU does not grow."""

    @functools.cached_property
    def train(self) -> TrainRows:
        """The training rows."""
        return PreparedRows(self.splits.train, self.sampling) if self.stream is None else self.stream

    @functools.cached_property
    def rows_sha256(self) -> str:
        """Hash of the tokenized rows of all splits, in their order; of the files of rows that are streamed."""
        return self.splits.hash_rows()

    def lengths_of(self, split: str) -> NDArray[np.int32]:
        """Return the untruncated length of each row of a split, in tokens, [num_rows].

        Raises:
            ValueError: if the rows are streamed.
        """
        if split == "train" and self.stream is not None:
            raise ValueError(
                "Expected prepared training rows to evaluate or measure them; with --streaming, they are read only "
                "for the steps. Use the validation split, or omit --streaming."
            )
        return np.asarray(getattr(self.splits, split).data.column("length"), dtype=np.int32)

    def collate(
        self, micro_batch: MicroBatch, split: str, model: EncoderWithHead, sample: WindowSample | None
    ) -> Batch:
        """Return a micro-batch's rows as a batch on this process's device.

        Args:
            micro_batch: the rows.
            split: their split.
            model: the model.
            sample: chooses windows of each text; None for all windows.
        """
        self.heap_trimmer.count_batch()
        # Evaluations use the greatest maximum length that the model was ever trained with, not the current one.
        max_length = None if split == "train" else model.config.max_input_length
        rows = self.train[micro_batch.rows] if split == "train" else getattr(self.splits, split)[micro_batch.rows]
        batch = self.collator(rows, micro_batch.weights, max_length=max_length, sample=sample)
        if self.features is not None:
            self.disable_cache_if(self.features.why_unusable(model))
        if self.features is not None:
            batch = self.features.add_to(batch, model, split, micro_batch.rows)
        return batch.to(self.device)

    def disable_cache_if(self, reason: str | None) -> None:
        """If there is a reason not to use stored hidden states, run the encoder from now on.

        Args:
            reason: why the stored hidden states cannot be used; None if they can, which changes nothing.
        """
        if reason is not None:
            self.features, self.cache_disabled = None, True
            report_hidden_states(f"Hidden states are computed from now on, not read from the cache: {reason}.")
