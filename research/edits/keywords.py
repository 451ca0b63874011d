"""The keywords of a timeline entry, which are not names of edits."""

from __future__ import annotations

from collections.abc import Iterable

from heads.registry import describe_unknown

DUE_KEYWORDS = ("at", "every", "when")
"""Keywords that say when an entry is due. Every entry has exactly one of them."""
ON_CONFLICT = "on_conflict"
"""Keyword of a conditional entry: what happens if its edits cannot be applied when the condition comes true."""
KEYWORDS = (*DUE_KEYWORDS, ON_CONFLICT)


def describe_unknown_edit(name: object, edits: Iterable[str]) -> str:
    """Return the error message for an entry with an edit that does not exist."""
    return describe_unknown("edit", str(name), [*edits, *KEYWORDS], listed_as="Edits and keywords")
