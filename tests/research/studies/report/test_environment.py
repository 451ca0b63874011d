"""What the trials of a study ran with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.environment import find_environment
from tests.builders.studies import trial_of


def study_of(*results: dict[str, Any] | None) -> StudyOutcomes:
    outcomes = [
        Outcome(trial_of("a", seed), Path("nowhere"), "failed" if result is None else "finished", result)
        for seed, result in enumerate(results)
    ]
    return StudyOutcomes(StudySpec(), Path("nowhere"), outcomes)


def result(torch: str, commit: str | None = "ab12") -> dict[str, Any]:
    return {"versions": {"torch": torch}, "world_size": 2, "git_commit": commit}


def test_value_of_all_trials_stands_alone() -> None:
    found = find_environment(study_of(result("2.6"), result("2.6")))
    assert found == {"processes": ["2"], "commit": ["ab12"], "torch": ["2.6"]}


def test_values_that_differ_come_with_their_trials_the_most_frequent_first() -> None:
    found = find_environment(study_of(result("2.5", None), result("2.6"), result("2.6")))
    assert found["torch"] == ["2.6 (2 trials)", "2.5 (1 trials)"]
    assert found["commit"][0] == "ab12 (2 trials)"


def test_failed_trials_and_those_elsewhere_are_not_known() -> None:
    assert find_environment(study_of(None, {"metrics": {}})) == {}
