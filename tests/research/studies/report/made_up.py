"""Studies with made-up metrics, for tests of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from tests.builders.studies import make_trial

NOISE = (0.0, 0.011, -0.008, 0.004, -0.003, 0.009)
"""Deviation of each seed from an arm's accuracy, shared by all arms."""
OWN_NOISE = (0.001, -0.001, 0.002, -0.002, 0.0, 0.001)
"""Further deviation, with a different order of seeds in each arm."""


def made_up_study(
    directory: Path, accuracies: Mapping[str, float], baseline: str | None = None, seeds: Sequence[int] = range(6)
) -> StudyOutcomes:
    """Return a study with no files whose arms have about these accuracies on test rows, and 0.01 more on validation."""
    outcomes = []
    for index, (arm, accuracy) in enumerate(accuracies.items()):
        for seed in seeds:
            value = accuracy + NOISE[seed] + OWN_NOISE[(seed + index) % len(OWN_NOISE)]
            metrics = {"test": {"accuracy": value}, "validation": {"accuracy": value + 0.01}}
            outcomes.append(
                Outcome(make_trial(arm, seed), directory / f"{arm}-{seed}", "finished", {"metrics": metrics})
            )
    return StudyOutcomes(StudySpec(name="made_up", baseline=baseline), directory, outcomes)


def study_with_accuracies(directory: Path, values: Mapping[str, Sequence[float]]) -> StudyOutcomes:
    """Return a finished study with these test accuracies: for each arm, one value per seed."""
    outcomes = [
        Outcome(
            make_trial(arm, seed), directory / f"{arm}-{seed}", "finished", {"metrics": {"test": {"accuracy": value}}}
        )
        for arm, arm_values in values.items()
        for seed, value in enumerate(arm_values)
    ]
    return StudyOutcomes(StudySpec(), directory, outcomes)
