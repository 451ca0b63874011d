"""Names and values of other people's files in messages: on one line, and without effect on the terminal."""

from __future__ import annotations

import unicodedata

LONGEST = 2000
"""Characters of the longest message; of a longer one, beginning and end are shown."""
_ESCAPED = ("Cc", "Cs", "Zl", "Zp")
"""Control characters, halves of surrogate pairs, ends of lines and paragraphs."""
_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that change the direction of all that follows."""


def printable(text: str, longest: int = LONGEST) -> str:
    r"""Return a text on one line: a line break becomes `\n`, an escape character `\x1b`, and so on.

    Args:
        text: any text.
        longest: characters to which it is shortened, in its middle.
    """
    if not text.isprintable():
        text = "".join(_escape(character) if _is_escaped(character) else character for character in text)
    if len(text) <= longest:
        return text
    start, end = text[: longest // 2], text[len(text) - longest // 3 :]
    return f"{start} [{len(text) - len(start) - len(end):,} characters] {end}"


def _is_escaped(character: str) -> bool:
    return character in _DIRECTIONS or unicodedata.category(character) in _ESCAPED


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
