"""What the trials of a study ran with, beside their settings."""

from __future__ import annotations

from collections import Counter
from typing import Any

from research.studies.outcomes import StudyOutcomes


def find_environment(study: StudyOutcomes) -> dict[str, list[str]]:
    """Return commit, number of processes and versions of the finished trials: each value, and of how many if several.

    Args:
        study: its outcomes.
    """
    found: dict[str, Counter[str]] = {}
    for outcome in study.finished:
        for name, value in _facts(outcome.result or {}).items():
            found.setdefault(name, Counter())[value] += 1
    return {
        name: [value if len(counts) == 1 else f"{value} ({number} trials)" for value, number in counts.most_common()]
        for name, counts in found.items()
    }


def _facts(result: dict[str, Any]) -> dict[str, str]:
    if "versions" not in result:  # of a trial elsewhere, its metrics alone are known
        return {}
    facts = {"processes": str(result["world_size"]), "commit": result["git_commit"] or "not in a repository"}
    return facts | result["versions"]
