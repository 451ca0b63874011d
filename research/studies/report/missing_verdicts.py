"""Comparisons without a verdict, grouped by the reason, so that each reason is given once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from research.studies.statistics.over_seeds import Comparison

MAX_NAMES = 5
"""Number of arms above which they are counted instead of named; the table shows which arms have no verdict."""


def group_by_reason(comparisons: Iterable[Comparison]) -> dict[str, list[str]]:
    """Return the arms without a verdict by the reason, fewest arms first."""
    arms_by_reason: dict[str, list[str]] = {}
    for each in comparisons:
        if each.verdict is None:
            arms_by_reason.setdefault(each.why_no_verdict, []).append(each.arm)
    return dict(sorted(arms_by_reason.items(), key=lambda group: len(group[1])))


def list_arms(arms: Sequence[str], num_compared: int, format_name: Callable[[str], str] = str) -> str:
    """Return the arms in words: "any arm", their names, or their number.

    Args:
        arms: names of arms.
        num_compared: number of all arms that are compared.
        format_name: escapes a name for the format of the text.
    """
    if len(arms) == num_compared:
        return "any arm"
    return ", ".join(map(format_name, arms)) if len(arms) <= MAX_NAMES else f"{len(arms):,} arms"


def describe_missing_verdicts(comparisons: Collection[Comparison]) -> list[str]:
    """Return a sentence about each group of arms without a verdict.

    Args:
        comparisons: all comparisons of a table.
    """
    return [
        f"No verdict for {list_arms(arms, len(comparisons))}: {reason}."
        for reason, arms in group_by_reason(comparisons).items()
    ]
