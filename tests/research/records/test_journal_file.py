"""Writing and reading journal.jsonl."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.edits.records import Record
from research.records.journal_file import append_journal, read_journal, rewrite_journal

APPLIED = Record(
    number=1,
    step=4,
    epoch=0.5,
    name="unfreeze",
    arguments={"modules": "encoder"},
    requested_by="timeline entry 1",
    trainable_parameters=[10, 20],
    parameters=[20, 20],
    entry="{at: 4st}",
)
SKIPPED = Record(
    number=2,
    step=6,
    epoch=0.75,
    name="scale_lr",
    arguments={"factor": 0.5},
    requested_by="hook é",
    trainable_parameters=[20, 20],
    parameters=[20, 20],
    skipped="reason",
    clock={"step": 6, "end": None},
)


def test_journal_returns_appended_records_unchanged(tmp_path: Path) -> None:
    append_journal(tmp_path, [APPLIED])
    append_journal(tmp_path, [SKIPPED])
    assert read_journal(tmp_path) == [APPLIED, SKIPPED]


def test_rewrite_journal_replaces_all_records(tmp_path: Path) -> None:
    append_journal(tmp_path, [APPLIED, SKIPPED])
    rewrite_journal(tmp_path, [SKIPPED])
    assert read_journal(tmp_path) == [SKIPPED]
    rewrite_journal(tmp_path, [])
    assert read_journal(tmp_path) == []


def test_read_journal_raises_for_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_journal(tmp_path)
