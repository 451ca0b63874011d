"""Timelines are checked as far as possible without a model or data."""

from __future__ import annotations

from typing import Any

import pytest

from research import RunConfig
from research.runner.first_checks.timeline import check_timeline


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"timeline": [{"at": "3x", "freeze": "head"}]}, r"timeline entry 1: .*'3x'"),
        ({"timeline": [{"every": 3, "freeze": "head"}]}, r"timeline entry 1: .*'3'"),
        (
            {"timeline": [{"at": "5st", "freeze": "head"}, {"at": "5st", "frezze": "head"}]},
            r"timeline entry 2: .*'frezze'.*'freeze'",
        ),
        ({"timeline": [{"at": "5st", "freeze": "haed"}]}, r"'haed'.*'head'"),
        ({"timeline": [{"at": "5st", "replace_head": {"name": "lstm", "size": 8}}]}, r"option 'size'.*'lstm_size'"),
        ({"timeline": [{"at": "5st", "set_objective": "focl"}]}, r"'focl'.*'focal'"),
        ({"timeline": [{"when": "below(validation/los, 1)", "freeze": "head"}]}, r"'los'.*'loss'"),
        ({"freeze": ["encodr"]}, r"--freeze: .*'encodr'.*'encoder'"),
        ({"max_steps": 10, "timeline": [{"at": "11st", "freeze": "head"}]}, r"11st .*\b10\b"),
        ({"max_steps": 10, "timeline": [{"every": "10st", "freeze": "head"}]}, r"10st .*\b10\b"),
        (
            {
                "max_steps": 10,
                "evaluate_every": "5st",
                "timeline": [{"when": "plateau(validation/loss, 2)", "freeze": "head"}],
            },
            r"plateau\(validation/loss, 2\) .*\b1\b",  # of the evaluations, only 1 is before the last step
        ),
    ],
)
def test_check_timeline_rejects_invalid_entries(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        check_timeline(RunConfig(**settings))


def test_check_timeline_accepts_entries_whose_validity_depends_on_data_or_plugins() -> None:
    late_entry = [{"at": "11st", "freeze": "head"}]
    check_timeline(RunConfig(timeline=late_entry))  # the number of rows is unknown
    check_timeline(RunConfig(timeline=[{"at": "9ep", "freeze": "head"}], max_steps=10))
    check_timeline(RunConfig(timeline=late_entry, max_steps=10, smoke=True))  # --smoke changes max_steps
    check_timeline(RunConfig(timeline=[{"at": "5st", "mine": 3}], plugin=["mine.py"]))
