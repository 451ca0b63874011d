"""Arms without a verdict are named or counted once for each reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.studies.report.missing_verdicts import MAX_NAMES, describe_missing_verdicts, list_arms
from research.studies.report.ranking import rank_arms
from research.studies.statistics.over_seeds import Comparison
from tests.research.studies.report.made_up import study_with_accuracies

VALUES = [0.71, 0.73, 0.72, 0.75, 0.74]


def comparisons_of(values: dict[str, list[float]]) -> list[Comparison]:
    """Return the comparisons of all arms with the first one."""
    ranked = rank_arms(study_with_accuracies(Path("nowhere"), values), "accuracy")
    return [each.comparison for each in ranked if each.comparison is not None]


def test_a_reason_shared_by_all_arms_is_given_once() -> None:
    few = {arm: [value + shift for value in VALUES[:2]] for arm, shift in [("a", 0), ("b", 0.1), ("c", 0.12)]}
    few["b"][0] -= 0.01
    few["c"][0] += 0.01
    (sentence,) = describe_missing_verdicts(comparisons_of(few))
    assert sentence.startswith("No verdict for any arm: a verdict requires at least 5 common seeds")


def test_arms_with_a_verdict_are_not_mentioned() -> None:
    values = {"a": VALUES, "b": [0.81, 0.85, 0.8, 0.86, 0.88], "c": VALUES[:3]}
    (sentence,) = describe_missing_verdicts(comparisons_of(values))
    assert sentence.startswith("No verdict for c: ")
    assert describe_missing_verdicts(comparisons_of({"a": VALUES, "b": values["b"]})) == []


@pytest.mark.parametrize(
    ("num_arms", "expected"), [(MAX_NAMES, ", ".join("abcde")), (MAX_NAMES + 1, "6 arms"), (8, "any arm")]
)
def test_many_arms_are_counted(num_arms: int, expected: str) -> None:
    assert list_arms("abcdefgh"[:num_arms], 8) == expected
