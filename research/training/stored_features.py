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
        """Return why the stored hidden states cannot be used after the edits just applied; None if they can."""

    def add_to(self, batch: Batch, model: EncoderWithHead, split: str, rows: RowIndices) -> Batch:
        """Return the batch with the hidden states that the head reads."""
        ...

    def check_weights(self, current_checksums: dict[str, int]) -> None:
        """Check that the encoder's weights are those that computed the stored hidden states.

        This also finds changes that torch's version counters miss.

        Args:
            current_checksums: checksums of the model's parameters and buffers, by name.
        Raises:
            ValueError: if the weights have changed.
        """

    def reattach_to(self, run: Editable) -> str | None:
        """Use the stored hidden states with the run's new model; return the reason if this is impossible, else None."""
