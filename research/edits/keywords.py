"""The keywords of a timeline entry, which are not names of edits."""

from __future__ import annotations

from collections.abc import Iterable

from heads.registry import describe_unknown

TIMES = ("at", "every", "when")
ON_CONFLICT = "on_conflict"
"""Keyword of a conditional entry: what happens if its edits cannot be applied when the condition comes true."""
KEYWORDS = (*TIMES, ON_CONFLICT)


def describe_unknown_edit(name: object, edits: Iterable[str]) -> str:
    """Return the error message for an entry with an edit that does not exist."""
    return describe_unknown("edit", str(name), [*edits, *KEYWORDS], listed_as="Edits and times")
