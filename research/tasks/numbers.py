"""Numbers as files hold them, and when whole ones are classes."""

from __future__ import annotations

import re

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WHOLE = re.compile(r"[+-]?(\d+)(\.0*)?")
MAX_WHOLE_CLASSES = 20
"""Up to this many different whole numbers stored as floats (1.0, 2.0) are taken for classes."""


def without_exponent(value: str) -> str:
    """Return a number without an exponent if it is whole, as 1e+18 is; anything else without the spaces around it."""
    text = value.strip()
    if "e" not in text.lower() or not NUMBER.fullmatch(text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else text
