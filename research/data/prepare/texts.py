"""Check and clean the text of a row."""

from __future__ import annotations

from typing import Any

from research.data.prepare.cleaning import CleaningStep

INVALID_UNICODE = "invalid Unicode (half of a surrogate pair)"
"""Reason to report for a bad row with a string that cannot be encoded."""


class BadTextError(ValueError):
    """Raised for a text that cannot be used."""


def read_text(value: Any, clean: CleaningStep) -> str:
    """Return a text after cleaning.

    Raises:
        BadTextError: if the text is missing, is not a string, or is empty before or after cleaning.
    """
    if value is None:
        raise BadTextError("missing text")
    if not isinstance(value, str):
        raise BadTextError(f"the text has the type {type(value).__name__}, expected a string")
    if not value or value.isspace():
        raise BadTextError("empty text")
    cleaned = clean(value)
    if not cleaned or cleaned.isspace():
        raise BadTextError("empty text after cleaning")
    return cleaned
