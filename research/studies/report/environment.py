"""Software environment of a study's trials."""

from __future__ import annotations

from collections import Counter
from typing import Any

from research.studies.outcomes import StudyOutcomes


def find_environment(study: StudyOutcomes) -> dict[str, list[str]]:
    """Return commit, number of processes and package versions of the finished trials.

    Args:
        study: outcomes of the study.
    Returns:
        The values of each fact; if there are several values, each with its number of trials.
    """
    counts_by_fact: dict[str, Counter[str]] = {}
    for outcome in study.finished:
        for name, value in _facts(outcome.result or {}).items():
            counts_by_fact.setdefault(name, Counter())[value] += 1
    return {
        name: [
            value if len(counts) == 1 else f"{value} ({number} trial{'s' * (number > 1)})"
            for value, number in counts.most_common()
        ]
        for name, counts in counts_by_fact.items()
    }


def _facts(result: dict[str, Any]) -> dict[str, str]:
    if "versions" not in result:  # only the metrics are known if the trial ran on another machine
        return {}
    facts = {"hardware": f"{result['world_size']} x {result['device']}"} if "device" in result else {}
    facts |= {"processes": str(result["world_size"]), "commit": result["git_commit"] or "not in a Git repository"}
    return facts | result["versions"]
