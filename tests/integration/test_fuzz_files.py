"""Mutated files are either read, with all of their rows accounted for, or refused in one line."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import pytest

from tests.scripts.fuzz_files import classify_outcome, fuzz, is_one_line


@pytest.mark.parametrize(
    ("num_files", "num_trained", "seed"),
    [(30, 1, 0), pytest.param(300, 12, 1, marks=pytest.mark.slow, id="300-12-1 (about two minutes)")],
)
def test_mutated_files_are_read_or_refused_in_one_line(num_files: int, num_trained: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:  # a short path, since some mutated files are sockets
        outcomes = list(fuzz(Path(folder), num_files=num_files, num_trained=num_trained, seed=seed))
    assert [str(outcome) for outcome in outcomes if outcome.is_fault] == []
    assert {outcome.kind for outcome in outcomes} == {"read", "refused"}
    assert len(outcomes) == num_files


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (0, "", "read"),
        (0, "a warning\n", "read, with other messages"),
        (1, "error: what is wrong\n", "refused"),
        (1, "error: \n", "not one line"),
        (1, "error: two\nlines\n", "not one line"),
        (1, "error: \x1b[2J\n", "not one line"),
        (1, "a warning\nerror: what is wrong\n", "not one line"),
        (1, "Traceback (most recent call last):\n...\n", "traceback"),
        (1, "error: ArrowInvalid('x') <class 'str'>\n", "internal text"),
        (1, "error: [Errno 2] No such file\n", "internal text"),
        (-signal.SIGKILL, "", "killed by SIGKILL"),
        (-signal.SIGALRM, "", "still running after 60 s"),
    ],
)
def test_classify_outcome_distinguishes_faults_from_refusals(status: int, error: str, kind: str) -> None:
    assert classify_outcome(status, "", error, trained=False) == kind


def test_is_one_line_refuses_blank_broken_and_very_long_text() -> None:
    assert is_one_line("Überschrift, 表")
    assert not any(map(is_one_line, ("", " ", "a\u2028b", "a\x85b", "half \ud800", "x" * 5000)))
