"""What the loop asks of stored hidden states; research/features has them."""

from __future__ import annotations

from typing import Protocol

from research.data.batches.batch import Batch
from research.data.batches.order import RowIndices
from research.edits.base import Editable
from research.model.encoder_with_head import EncoderWithHead


class StoredFeatures(Protocol):
    """Hidden states of a frozen encoder that batches get instead of running it."""

    digest: str
    """Hash of the stored hidden states."""

    def reason_against(self, model: EncoderWithHead) -> str | None:
        """Return why they cannot be used for the next batch, or None."""

    def reason_after_edits(self, run: Editable) -> str | None:
        """Return why they cannot be used after the edits of a boundary, or None."""

    def add_to(self, batch: Batch, model: EncoderWithHead, split: str, rows: RowIndices) -> Batch:
        """Return a batch with the hidden states that the head reads."""
        ...

    def check(self, found: dict[str, int]) -> None:
        """Refuse to go on with an encoder whose checksums have changed.

        Args:
            found: checksums of the model's parameters and buffers.
        Raises:
            ValueError: if its weights were written to where torch does not see it.
        """

    def follow(self, run: Editable) -> str | None:
        """Continue with the model that a run has now; return why that cannot be, or None."""
