"""The record of the edits that were applied: journal.jsonl, and a line of text in the trackers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from research.edits.base import EditRequest
from research.tracking import track_text

if TYPE_CHECKING:
    from research.run import Run

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class Record:
    """One applied edit."""

    number: int
    """From 1; also the seed of its random numbers."""
    step: int
    """Steps taken before it."""
    epoch: float
    """Passes over the training split before it."""
    name: str
    """Registered name."""
    arguments: dict[str, Any]
    """All arguments."""
    asked_by: str
    """Who asked: a timeline's entry, or a hook."""
    trainable_parameters: list[int]
    """Number before and after."""
    parameters: list[int]
    """Number before and after."""

    @property
    def request(self) -> EditRequest:
        """What was asked for."""
        return EditRequest(self.name, self.arguments, self.asked_by)

    def __str__(self) -> str:
        trainable = " -> ".join(f"{count:,}" for count in dict.fromkeys(self.trainable_parameters))
        return f"{self.request}, asked for by {self.asked_by}; trainable parameters {trainable}"


def write(run: Run, records: list[Record]) -> None:
    """Add records to journal.jsonl and to TensorBoard; called on the main process."""
    _write_lines(run, records, "a")
    for record in records:
        run.say(f"after step {record.step}: {record}")
    text = "\n".join(f"- {record}" for record in records)
    track_text(run.accelerator, "edits", text, run.clock.step)


def read(directory: Path) -> list[Record]:
    """Return what the journal of a run directory says."""
    lines = (directory / JOURNAL).read_text(encoding="utf-8").splitlines()
    return [Record(**json.loads(line)) for line in lines]


def rewrite(run: Run) -> None:
    """Write the journal as it was at a checkpoint, without what came after; called on the main process."""
    _write_lines(run, run.journal, "w")


def _write_lines(run: Run, records: list[Record], mode: Literal["a", "w"]) -> None:
    with (run.directory / JOURNAL).open(mode, encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(record)) + "\n" for record in records)
