"""The record of the edits that were applied: journal.jsonl, and a line of text in the trackers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from research.edits.base import EditRequest
from research.records.trackers import track_text
from research.settings.config import Choice
from research.system.durable import append_text, write_text
from research.system.plain_text import for_markdown

if TYPE_CHECKING:
    from research.training.run import Run

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
    entry: str | None = None
    """The timeline's entry as it was written, its time included; None if a hook asked while training."""
    skipped: str | None = None
    """Why the edit was left out although its condition came true (on_conflict: skip); None if it was applied."""
    clock: dict[str, int | None] | None = None
    """What the run's clock read, for applying the edit again; None in journals of earlier versions."""

    @property
    def request(self) -> EditRequest:
        """What was asked for."""
        return EditRequest(self.name, self.arguments, self.asked_by, self.entry)

    def __str__(self) -> str:
        if self.skipped is not None:
            return f"skipped {self.request}, asked for by {self.asked_by}: {self.skipped}"
        trainable = " -> ".join(f"{count:,}" for count in dict.fromkeys(self.trainable_parameters))
        return f"{self.request}, asked for by {self.asked_by}; trainable parameters {trainable}"


@dataclass(frozen=True)
class Parent:
    """The run that a fork comes from."""

    run: str
    """Its directory."""
    step: int
    """Steps that it had taken where the fork begins."""
    journal: tuple[Record, ...]
    """The edits that it had applied there."""


def objective_after(objective: str | dict[str, Any] | None, records: Sequence[Record]) -> Choice:
    """Return a run's objective after some edits.

    Args:
        objective: as the settings have it, resolved.
        records: the edits.
    """
    edited = [
        record.arguments["objective"] for record in records if record.name == "set_objective" and record.skipped is None
    ]
    chosen = edited[-1] if edited else objective
    assert chosen is not None, "the settings are not resolved"
    return Choice.of(chosen, "objective")


def write(run: Run, records: list[Record]) -> None:
    """Add records to journal.jsonl and to TensorBoard; called on the main process."""
    append_text(run.directory / JOURNAL, _lines(records))
    for record in records:
        run.say(f"after step {record.step}: {record}")
    text = "\n".join(f"- {for_markdown(str(record))}" for record in records)
    track_text(run.accelerator, "edits", text, run.clock.step)


def read(directory: Path) -> list[Record]:
    """Return what the journal of a run directory says."""
    lines = (directory / JOURNAL).read_text(encoding="utf-8").splitlines()
    return [Record(**json.loads(line)) for line in lines]


def rewrite(run: Run) -> None:
    """Write the journal as it was at a checkpoint, without what came after; called on the main process."""
    write_text(run.directory / JOURNAL, _lines(run.journal))


def _lines(records: list[Record]) -> str:
    return "".join(json.dumps(asdict(record)) + "\n" for record in records)
