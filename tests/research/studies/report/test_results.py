"""results.csv has all metrics, and no text that spreadsheets would run as a formula."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from research.studies.outcomes import StudyOutcomes
from research.studies.report.results import results_csv
from research.system.plain_text import for_csv
from tests.builders.studies import read_result_files, study_with_predictions, with_changed_outcomes


def test_names_and_errors_are_not_spreadsheet_formulas(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, {"=1+1": [[0, 1]], "@SUM(A1)": [[1, 1]]}, [0, 1])
    study = with_changed_outcomes(study, {1: {"state": "failed", "error": "=HYPERLINK(0)"}})
    rows = list(csv.DictReader(io.StringIO(results_csv(study))))
    assert [row["arm"] for row in rows] == ["'=1+1", "'@SUM(A1)"]
    assert rows[1]["error"] == "'=HYPERLINK(0)"


@pytest.mark.parametrize("value", ["-0.5", "+3", "-inf", "lstm", "", -1, 2.5, None])
def test_for_csv_keeps_numbers_and_harmless_text(value: object) -> None:
    assert for_csv(value) == value


def test_csv_contains_all_metrics_of_all_trials(page: Path, finished_study: StudyOutcomes) -> None:
    with (page.parent / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(finished_study.outcomes)
    for row, (trial_id, result) in zip(rows, read_result_files(finished_study).items(), strict=True):
        assert (row["id"], row["state"]) == (trial_id, "finished")
        for split, metrics in result["metrics"].items():
            assert {name: float(row[f"{split}/{name}"]) for name in metrics} == metrics
        for name in ("steps", "train_seconds", "trainable_parameters", "weights_sha256"):
            assert row[name] == str(result[name])
    assert {row["arm"] for row in rows} == set(finished_study.arms)
    assert {row["axis/arm"] for row in rows} == set(finished_study.arms)
