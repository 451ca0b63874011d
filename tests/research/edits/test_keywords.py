"""Keywords of timeline entries."""

from __future__ import annotations

from research.edits.keywords import KEYWORDS, describe_unknown_edit


def test_describe_unknown_edit_suggests_a_similar_name_and_lists_edits_and_keywords() -> None:
    assert KEYWORDS == ("at", "every", "when", "on_conflict")
    assert "'whne'" in describe_unknown_edit("whne", ["freeze"])
    assert "'when'?" in describe_unknown_edit("whne", ["freeze"])
    # A key of a YAML file can be a number.
    assert describe_unknown_edit(3, ["freeze"]).endswith(" at, every, freeze, on_conflict, when.")
