"""The report lists the software environments of a study's trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.environment import find_environment
from tests.builders.studies import make_trial


def study_with_results(*results: dict[str, Any] | None) -> StudyOutcomes:
    """Return a study with one trial for each result; None stands for a failed trial."""
    outcomes = [
        Outcome(make_trial("a", seed), Path("nowhere"), "failed" if result is None else "finished", result)
        for seed, result in enumerate(results)
    ]
    return StudyOutcomes(StudySpec(), Path("nowhere"), outcomes)


def result(torch: str, commit: str | None = "ab12") -> dict[str, Any]:
    return {"versions": {"torch": torch}, "world_size": 2, "git_commit": commit}


def test_common_value_has_no_trial_count() -> None:
    environment = find_environment(study_with_results(result("2.6"), result("2.6")))
    assert environment == {"processes": ["2"], "commit": ["ab12"], "torch": ["2.6"]}


def test_differing_values_have_trial_counts_most_frequent_first() -> None:
    environment = find_environment(study_with_results(result("2.5", None), result("2.6"), result("2.6")))
    assert environment["torch"] == ["2.6 (2 trials)", "2.5 (1 trial)"]
    assert environment["commit"][0] == "ab12 (2 trials)"


def test_failed_and_remote_trials_have_no_environment() -> None:
    remote: dict[str, Any] = {"metrics": {}}  # the result.json of this finished trial is on another machine
    assert find_environment(study_with_results(None, remote)) == {}


def test_hardware_has_the_number_of_processes_and_the_device() -> None:
    environment = find_environment(study_with_results({**result("2.6"), "device": "NVIDIA H200"}))
    assert environment["hardware"] == ["2 x NVIDIA H200"]
