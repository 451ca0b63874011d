"""Numbers in files, and the limit up to which whole numbers are treated as classes."""

from __future__ import annotations

import re

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WHOLE_NUMBER = re.compile(r"[+-]?(\d+)(\.0*)?")
"""Matches whole numbers without an exponent (`without_exponent` removes it). Group 1: the digits before the point."""
MAX_WHOLE_NUMBER_CLASSES = 20
"""Maximum number of distinct whole numbers stored as floats (1.0, 2.0) that are treated as classes. For other
numbers, it is the limit between few and many distinct values."""


def without_exponent(value: str) -> str:
    """Return a whole number such as 1e+18 without its exponent; for any other text, only remove surrounding spaces."""
    text = value.strip()
    if "e" not in text.lower() or not NUMBER.fullmatch(text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else text
