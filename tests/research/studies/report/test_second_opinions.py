"""Second opinions are shown beside the verdicts, and comparisons.csv has all tests."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.page import write_study_report
from research.studies.report.ranking import rank_arms
from research.studies.report.second_opinions import find_second_opinions
from tests.builders.studies import make_trial, table_cells

ACCURACIES = {
    "base": [0.80, 0.81, 0.82, 0.80, 0.81, 0.82],
    "better": [0.85, 0.87, 0.86, 0.85, 0.88, 0.86],
    "few": [0.9],
}
"""Accuracy of each seed, by arm."""


def study_of(directory: Path, **settings: Any) -> StudyOutcomes:
    """Return a study whose trials have only a metric; with folds, all values are those of the folds of seed 0."""
    outcomes: list[Outcome] = []
    for arm, values in ACCURACIES.items():
        for number, value in enumerate(values):
            seed, fold = (0, number) if settings else (number, 0)
            trial = make_trial(arm, seed, fold=fold, **settings)
            result = {"metrics": {"test": {"accuracy": value, "loss": 1 - value}, "validation": {}}}
            outcomes.append(Outcome(trial, directory / str(len(outcomes)), "finished", result))
    return StudyOutcomes(StudySpec(name="written", baseline="base"), directory, outcomes)


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_second_opinions_are_given_for_arms_with_a_verdict(tmp_path: Path, metric: str) -> None:
    ranked = rank_arms(study_of(tmp_path), metric)
    (opinion,) = find_second_opinions(ranked, higher_is_better=metric == "accuracy")
    assert opinion.arm == "better"
    assert opinion.signed_rank_p == pytest.approx(2 / 2**6)
    assert (opinion.order.violation_ratio, opinion.order.high) == (0, 0)


@pytest.mark.parametrize(("settings", "test"), [({}, "paired t"), ({"folds": 6}, "corrected resampled t")])
def test_comparisons_and_the_report_show_all_tests(tmp_path: Path, settings: dict[str, Any], test: str) -> None:
    page = write_study_report(study_of(tmp_path, **settings))
    with (tmp_path / "comparisons.csv").open(newline="") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"better", "few"}
    better, few = rows["better"], rows["few"]
    assert (better["test"], better["pairs"], better["verdict"]) == (test, "6", "better")
    assert float(better["difference"]) == pytest.approx(0.31 / 6)
    assert float(better["p_holm"]) == pytest.approx(2 * float(better["p"]))
    assert (better["signed_rank_p"], better["violation_ratio_high"]) == ("0.03125", "0.0")
    assert (few["verdict"], few["signed_rank_p"]) == ("", "")
    assert "at least 5 common" in few["why_no_verdict"]
    for text in (page.read_text(), (tmp_path / "report.md").read_text()):
        assert ("training rows of the folds overlap, so they find" in text) == bool(settings)
        assert ("corrected resampled t test" in text) == bool(settings)
    table = (tmp_path / "report" / "tables" / "ranking.tex").read_text()
    assert ("corrected resampled $t$ test" in table, "6 folds" in table) == (bool(settings), bool(settings))
    assert table_cells("opinions", page.read_text()) == [["better", "0.0312", "0.0000", "0.0000 to 0.0000"]]
