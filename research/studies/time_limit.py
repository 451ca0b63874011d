"""Parsing of time limits such as 2h or 90m."""

from __future__ import annotations

import re

SECONDS_PER_UNIT = {"h": 3600, "m": 60, "s": 1}


def parse_seconds(text: str) -> float:
    """Convert a time such as `2h`, `90m`, `45s` or `1h30m` to seconds.

    Raises:
        ValueError: if the text is not a time above 0.
    """
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?\s*(?:(\d+(?:\.\d+)?)m)?\s*(?:(\d+(?:\.\d+)?)s)?", text.strip())
    numbers = [] if match is None else [float(number or 0) for number in match.groups()]
    seconds = sum(number * unit for number, unit in zip(numbers, SECONDS_PER_UNIT.values(), strict=False))
    if seconds <= 0:
        raise ValueError(f"Expected a time above 0 such as 2h, 90m or 1h30m, got '{text}'.")
    return seconds
