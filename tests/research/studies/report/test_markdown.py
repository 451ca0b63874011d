"""Markdown tables are escaped and aligned; report.md lists unfinished trials."""

from __future__ import annotations

from pathlib import Path

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.contents import collect_contents
from research.studies.report.markdown import markdown_report, markdown_table
from tests.builders.studies import make_trial


def test_markdown_table_escapes_cells() -> None:
    # A > before a title aligns its column right.
    assert markdown_table(["arm", ">n|"], [["a|b", "1"]]) == "| arm | n\\| |\n| --- | ---: |\n| a\\|b | 1 |\n"


def test_markdown_table_aligns_numbers_right() -> None:
    table = markdown_table([">seeds", "verdict"], [["5", "better"], ["5", "-"]])
    assert table.splitlines() == ["| seeds | verdict |", "| ---: | --- |", "| 5 | better |", "| 5 | - |"]


def test_markdown_report_lists_failed_and_waiting_trials(tmp_path: Path) -> None:
    outcomes = [
        Outcome(make_trial("a|b", 0), tmp_path / "0", "failed", error="too hot\nat the end"),
        Outcome(make_trial("linear", 1), tmp_path / "1", "waiting"),
    ]
    report = markdown_report(collect_contents(StudyOutcomes(StudySpec(name="heads", about="why"), tmp_path, outcomes)))
    lines = report.splitlines()
    assert lines[0] == "# heads"
    assert "why" in lines
    (failed,) = (line for line in lines if "too hot" in line)
    assert r"a\|b, seed 0" in failed
    assert "at the end" in failed
    assert "- waiting: linear-1" in lines
    assert not any(line.startswith("|") for line in lines)  # there are no results for a table
