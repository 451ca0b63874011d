"""Events that a run reports to the study that started it."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.system.events import (
    ERROR,
    EVENTS_FILE_VARIABLE,
    HIDDEN_STATES,
    MESSAGE,
    TAIL_BYTES,
    Event,
    last_event,
    read_events,
    recording_events,
    recording_events_for_study,
    report_error,
    report_hidden_states,
)
from research.system.messages import logger


def test_recording_events_writes_messages_and_reports_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with recording_events(path):
        logger.info("Reading reviews.csv")
        report_hidden_states("no room")
    logger.info("later")
    events = [Event(MESSAGE, "Reading reviews.csv"), Event(HIDDEN_STATES, "no room")]
    assert read_events(path.read_bytes()) == events
    assert last_event(path) == events[1]
    assert last_event(path, MESSAGE) == events[0]
    assert last_event(path, ERROR) is None


def test_study_receives_messages_and_the_error_that_ends_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    with recording_events_for_study():
        logger.info("not for a study")
    assert not path.exists()
    monkeypatch.setenv(EVENTS_FILE_VARIABLE, str(path))
    with recording_events_for_study():
        logger.info("begun")
    report_error("the disk is full")
    assert read_events(path.read_bytes()) == [Event(MESSAGE, "begun"), Event(ERROR, "the disk is full")]


def test_only_the_main_process_writes_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with recording_events(tmp_path / "events.jsonl"):
        logger.info("of another process")
    assert not (tmp_path / "events.jsonl").exists()


def test_last_event_reads_the_end_of_a_long_file_and_skips_incomplete_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert last_event(path) is None
    with recording_events(path):
        for number in range(TAIL_BYTES // 20):
            logger.info(f"message {number}")
    complete_lines = path.read_bytes()
    assert len(complete_lines) > 2 * TAIL_BYTES
    path.write_bytes(complete_lines + b'{"kind": "error", "te')
    assert last_event(path) == Event(MESSAGE, f"message {TAIL_BYTES // 20 - 1}")
