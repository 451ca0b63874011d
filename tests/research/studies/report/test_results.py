"""results.csv, read by other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from research.studies.report.results import results_csv
from research.system.plain_text import for_csv
from tests.research.studies.report.studies import changed, written_study


def test_names_and_errors_are_no_formulas_for_spreadsheets(tmp_path: Path) -> None:
    study = written_study(tmp_path, {"=1+1": [[0, 1]], "@SUM(A1)": [[1, 1]]}, [0, 1])
    study = changed(study, {1: {"state": "failed", "error": "=HYPERLINK(0)"}})
    rows = list(csv.DictReader(io.StringIO(results_csv(study))))
    assert [row["arm"] for row in rows] == ["'=1+1", "'@SUM(A1)"]
    assert rows[1]["error"] == "'=HYPERLINK(0)"


@pytest.mark.parametrize("value", ["-0.5", "+3", "-inf", "lstm", "", -1, 2.5, None])
def test_numbers_and_plain_text_stay_as_they_are(value: object) -> None:
    assert for_csv(value) == value
