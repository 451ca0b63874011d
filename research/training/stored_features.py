"""The interface of stored hidden states to the training loop; research/features implements it."""

from __future__ import annotations

from typing import Protocol

from research.data.batches.batch import Batch
from research.data.batches.order import RowIndices
from research.edits.base import Editable
from research.model.encoder_with_head import EncoderWithHead


class StoredFeatures(Protocol):
    """Stored hidden states of a frozen encoder, added to batches instead of running the encoder."""

    digest: str
    """Hash of the stored hidden states."""

    def why_unusable(self, model: EncoderWithHead) -> str | None:
        """Return why the stored hidden states cannot be used for the next batch; None if they can."""

    def why_unusable_after_edits(self, run: Editable) -> str | None:
        """Return why the stored hidden states cannot be used after the edits of a boundary; None if they can."""

    def add_to(self, batch: Batch, model: EncoderWithHead, split: str, rows: RowIndices) -> Batch:
        """Return the batch with the hidden states that the head reads."""
        ...

    def check(self, found: dict[str, int]) -> None:
        """Check that the encoder's weights have not changed.

        Args:
            found: checksums of the model's parameters and buffers.
        Raises:
            ValueError: if they were changed in a way that torch does not notice.
        """

    def follow(self, run: Editable) -> str | None:
        """Use the stored hidden states with the run's current model; return why this is not possible, or None."""
