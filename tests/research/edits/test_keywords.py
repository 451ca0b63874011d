"""Words of a timeline that are no edits."""

from __future__ import annotations

from research.edits.keywords import KEYWORDS, describe_unknown_edit


def test_misspelt_word_may_be_an_edit_or_a_time() -> None:
    assert KEYWORDS == ("at", "every", "when", "on_conflict")
    assert "'whne'" in describe_unknown_edit("whne", ["freeze"])
    assert "'when'?" in describe_unknown_edit("whne", ["freeze"])
    assert describe_unknown_edit(3, ["freeze"]).endswith(" at, every, freeze, on_conflict, when.")
