"""journal.jsonl: the applied edits, one per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from research.edits.records import Record
from research.settings.run_files import JOURNAL
from research.system.durable import append_text, write_text


def append_journal(directory: Path, records: Sequence[Record]) -> None:
    """Append records to the journal of a run directory."""
    append_text(directory / JOURNAL, _lines(records))


def rewrite_journal(directory: Path, records: Sequence[Record]) -> None:
    """Replace the journal of a run directory, for example when a run returns to an earlier checkpoint."""
    write_text(directory / JOURNAL, _lines(records))


def read_journal(directory: Path) -> list[Record]:
    """Return the records in the journal of a run directory."""
    lines = (directory / JOURNAL).read_text(encoding="utf-8").splitlines()
    return [Record(**json.loads(line)) for line in lines]


def _lines(records: Sequence[Record]) -> str:
    return "".join(json.dumps(asdict(record)) + "\n" for record in records)
