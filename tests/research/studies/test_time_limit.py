"""Time limits such as 2h or 90m are parsed."""

from __future__ import annotations

import pytest

from research.studies.time_limit import parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("0.5h", 1800)]
)
def test_parse_seconds_converts_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0h", "2", "-1h", "2 hours", "1m2h", "10st"])  # "10st": 10 steps
def test_invalid_time_limits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="2h"):  # the message gives 2h as an example
        parse_seconds(text)
