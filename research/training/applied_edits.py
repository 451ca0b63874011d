"""The edits that a run has applied or left out, and the journal that says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from accelerate import Accelerator

from research.edits.records import EditRequest, Record
from research.model.encoder_with_head import EncoderWithHead
from research.model.parameters import count_parameters
from research.records.journal_file import append_journal
from research.records.trackers import track_text
from research.settings.times import Clock
from research.system.messages import WITH_LINES, logger
from research.system.plain_text import for_markdown


class AppliedEdits:
    """The edits of a run so far.

    Args:
        accelerator: knows the main process, which writes, and the trackers.
        directory: the run directory.
    """

    def __init__(self, accelerator: Accelerator, directory: Path) -> None:
        self._accelerator = accelerator
        self._directory = directory
        self.journal: list[Record] = []
        """Every edit so far, those that were left out included."""
        self.latest: list[Record] = []
        """The edits that were applied last, for after_edits."""
        self.is_replaying = False
        """Whether a checkpoint's edits are applied again; what they log and say was logged and said then."""

    @property
    def changed_objective(self) -> bool:
        """Whether the edits that were applied last changed what is minimised."""
        return any(record.name == "set_objective" for record in self.latest)

    @contextlib.contextmanager
    def replaying(self) -> Iterator[None]:
        """Apply a checkpoint's edits again inside."""
        self.is_replaying = True
        try:
            yield
        finally:
            self.is_replaying = False

    def finish(self, records: Sequence[Record]) -> None:
        """Take in the edits of a boundary, once the model is seen to have followed them."""
        self.latest = [*records]
        self._write(records)

    def leave_out(self, requests: Sequence[EditRequest], reason: str, clock: Clock, model: EncoderWithHead) -> None:
        """Record that edits are not applied.

        Args:
            requests: the edits.
            reason: why.
            clock: where the run is.
            model: the model, which stays as it is.
        """
        trainable, size = count_parameters(model)
        skipped = [
            Record.of(request, number, clock, [trainable, trainable], [size, size], skipped=reason)
            for number, request in enumerate(requests, len(self.journal) + 1)
        ]
        self.journal += skipped
        self._write(skipped)

    def _write(self, records: Sequence[Record]) -> None:
        """Add edits of the same step to journal.jsonl and the trackers, and report them."""
        if not self._accelerator.is_main_process or not records:
            return
        append_journal(self._directory, records)
        for record in records:
            logger.info(f"after step {record.step}: {record}", extra=WITH_LINES)
        text = "\n".join(f"- {for_markdown(str(record))}" for record in records)
        track_text(self._accelerator, "edits", text, records[0].step)
