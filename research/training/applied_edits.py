"""The edits that a run has applied or skipped, and the journal that records them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from accelerate import Accelerator

from research.edits.records import EditRequest, Record
from research.model.encoder_with_head import EncoderWithHead
from research.model.parameters import count_parameters
from research.records.journal_file import append_journal
from research.records.trackers import track_edits
from research.settings.times import Clock
from research.system.messages import KEEP_LINE_BREAKS, logger
from research.system.plain_text import for_markdown


class AppliedEdits:
    """The edits that a run has applied or skipped.

    Args:
        accelerator: tells which process is the main one, which writes the journal; holds the trackers.
        directory: the run directory.
    """

    def __init__(self, accelerator: Accelerator, directory: Path) -> None:
        self._accelerator = accelerator
        self._directory = directory
        self.journal: list[Record] = []
        """The records of all edits, skipped edits included."""
        self.latest: list[Record] = []
        """The records of the edits that were last applied, all at one boundary; for after_edits."""
        self.is_replaying = False
        """Whether a checkpoint's edits are being applied again. If so, their messages and logged values are dropped,
        since they appeared when the edits were first applied."""

    @property
    def changed_objective(self) -> bool:
        """Whether the latest edits changed the objective."""
        return any(record.name == "set_objective" for record in self.latest)

    @contextlib.contextmanager
    def replaying(self) -> Iterator[None]:
        """Return a context in which a checkpoint's edits are applied again."""
        self.is_replaying = True
        try:
            yield
        finally:
            self.is_replaying = False

    def record(self, records: Sequence[Record]) -> None:
        """Report and store the edits of one boundary after their audit. `journal` already contains them."""
        self.latest = [*records]
        self._write(records)

    def record_skipped(
        self, requests: Sequence[EditRequest], reason: str, clock: Clock, model: EncoderWithHead
    ) -> None:
        """Record that edits are skipped.

        Args:
            requests: the edits.
            reason: why they are skipped.
            clock: the run's position.
            model: the model, which does not change.
        """
        trainable, total = count_parameters(model)
        # A record has the counts before and after the edit, which are equal here.
        skipped = [
            Record.of(
                request,
                number,
                now=clock,
                trainable=[trainable, trainable],
                parameters=[total, total],
                skipped=reason,
            )
            for number, request in enumerate(requests, len(self.journal) + 1)
        ]
        self.journal += skipped
        self._write(skipped)

    def _write(self, records: Sequence[Record]) -> None:
        """Append records of edits at one boundary to journal.jsonl and the trackers, and report them."""
        if not self._accelerator.is_main_process or not records:
            return
        append_journal(self._directory, records)
        for record in records:
            logger.info(f"after step {record.step}: {record}", extra=KEEP_LINE_BREAKS)
        text = "\n".join(f"- {for_markdown(str(record))}" for record in records)
        track_edits(self._accelerator, text, records[0].step)
