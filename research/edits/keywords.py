"""The words of a timeline's entry that are no edits."""

from __future__ import annotations

from collections.abc import Iterable

from heads.registry import describe_unknown

TIMES = ("at", "every", "when")
ON_CONFLICT = "on_conflict"
"""Word of a conditional entry: what happens if its edits cannot be applied when the condition comes true."""
KEYWORDS = (*TIMES, ON_CONFLICT)


def describe_unknown_edit(name: object, edits: Iterable[str]) -> str:
    """Say that an entry names an edit that does not exist."""
    return describe_unknown("edit", str(name), [*edits, *KEYWORDS], listed_as="Edits and times")
