"""The folder report/ of a study has tables, figures and a checklist for a paper."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from research.studies.outcomes import StudyOutcomes
from research.studies.report.checklist import write_checklist
from research.studies.report.contents import Contents, collect_contents
from research.studies.report.page import write_contents
from tests.builders.studies import without_files
from tests.research.studies.report.made_up import made_up_study

FIGURES = ("intervals", "training_loss", "validation_metric", "time", "parameters")


def items_of(checklist: str, item: str) -> list[tuple[bool, str]]:
    """Return whether each entry of an item is filled, and its text."""
    found = re.findall(rf"^- \[(x| )\] \*\*{item}\*\* (.*)$", checklist, re.MULTILINE)
    return [(mark == "x", text) for mark, text in found]


def test_folder_has_all_files_and_earlier_ones_are_removed(page: Path, contents: Contents) -> None:
    folder = page.parent / "report"
    (folder / "figures" / "old.svg").touch()
    write_contents(contents)
    expected = {"checklist.md", "tables/ranking.tex", "tables/costs.tex"}
    expected |= {f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf")}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == expected
    for name in FIGURES:
        assert ET.parse(folder / "figures" / f"{name}.svg").getroot().tag.endswith("svg")
        pdf = (folder / "figures" / f"{name}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF")
        assert b"/Type3" not in pdf  # publishers reject these fonts


def test_files_are_deterministic(page: Path, contents: Contents) -> None:
    files = [path for path in (page.parent / "report").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    write_contents(collect_contents(contents.study))
    assert {path: path.read_bytes() for path in files} == before


def test_checklist_has_what_the_trials_recorded(page: Path, finished_study: StudyOutcomes, contents: Contents) -> None:
    checklist = (page.parent / "report" / "checklist.md").read_text(encoding="utf-8")
    results = [json.loads((outcome.directory / "result.json").read_text()) for outcome in finished_study.outcomes]
    c1 = " ".join(text for is_filled, text in items_of(checklist, "C1") if is_filled)
    for total in (min(result["total_parameters"] for result in results), max(r["total_parameters"] for r in results)):
        assert f"{total:,}" in c1
    assert f"1 x {results[0]['device']}" in c1
    assert "6 finished trials" in c1
    (rows,) = (text for is_filled, text in items_of(checklist, "B6") if is_filled)
    assert all(f"{split} {number}" in rows for split, number in results[0]["rows"].items())
    best = contents.best
    assert best is not None
    c2 = checklist[checklist.index("settings of the best arm") : checklist.index("**C3**")]
    assert re.search(r"^  \| max_steps \| 4 \|$", c2, re.MULTILINE)
    values = contents.settings.differing["lr"][best.arm]
    assert re.search(rf"^  \| lr \| {re.escape(str(values))} \|$", c2, re.MULTILINE)
    assert results[0]["versions"]["torch"] in checklist
    # Limitations, licenses and the like are for the author.
    for item in ("A1", "A2", "B1", "B2", "B3", "B4", "B5", "D1 to D5", "E1"):
        assert [(is_filled, "**Open**" in text) for is_filled, text in items_of(checklist, item)] == [(False, True)]


def test_checklist_separates_arms_whose_names_have_commas(tmp_path: Path) -> None:
    study = made_up_study(tmp_path, {"defaults": 0.7, "mean, lr=0.1": 0.8})
    spec = dataclasses.replace(study.spec, arms={"defaults": {}, "mean, lr=0.1": {}}, grid={"epochs": [1.0, 2.0]})
    items = items_of(write_checklist(collect_contents(dataclasses.replace(study, spec=spec))), "C2")
    compared = [text for _, text in items if text.startswith("compared")]
    assert compared == ["compared values of arm: defaults; mean, lr=0.1.", "compared values of epochs: 1.0; 2.0."]


def test_checklist_has_validation_beside_test_values(tmp_path: Path) -> None:
    contents = collect_contents(made_up_study(tmp_path, {"linear": 0.7, "mean": 0.8}))
    rows = re.findall(
        r"^  \| (\w+) \| ([\d.]+) \(sd .*?\) \| ([\d.]+) \(sd .*?\) \|$", write_checklist(contents), re.MULTILINE
    )
    means = {each.arm: each.summary.mean for each in contents.ranked}
    assert [row[0] for row in rows] == ["mean", "linear"]
    for arm, validation, test in rows:
        assert test == f"{means[arm]:.4f}"
        assert validation == f"{(means[arm] or 0) + 0.01:.4f}"


SELECTION = {
    "tried": "40 configurations tried (38 finished, 2 failed) in 2 h 00 min, with the sampler tpe (seed 0).",
    "rule": "The configuration with the best metric was chosen.",
    "test_rows_were_scored": False,
    "space": {"lr": "1e-06..0.001:log", "head": "linear, mean"},
    "search": {"budget": "40 trials", "sampler": {"name": "tpe", "multivariate": True}, "pruner": "none"},
    "validation": {"mean": 0.8125},
    "values": [0.5, 0.8125],
    "minimized": "seconds",
    "second_values": [1.0, 2.0],
    "hours": 0.05,
    "device_hours": 3.25,
}


def test_files_of_a_confirmation_have_the_search(tmp_path: Path) -> None:
    study = made_up_study(tmp_path, {"linear": 0.7, "mean": 0.8})
    study = dataclasses.replace(study, spec=dataclasses.replace(study.spec, selection=SELECTION))
    contents = collect_contents(study)
    write_contents(contents)
    figures = {path.name for path in (tmp_path / "report" / "figures").iterdir()}
    assert figures >= {f"{name}.{kind}" for name in ("expected_performance", "trade_offs") for kind in ("svg", "pdf")}
    checklist = (tmp_path / "report" / "checklist.md").read_text(encoding="utf-8")
    filled = [text for is_filled, text in items_of(checklist, "C[12]") if is_filled]
    assert any("3.25 device hours for the search" in text for text in filled)
    assert any("40 configurations tried" in text for text in filled)
    assert any("The configuration with the best metric was chosen" in text for text in filled)
    for row in ("lr | 1e-06..0.001:log", "budget | 40 trials", "sampler | {name: tpe, multivariate: true}"):
        assert f"  | {row} |\n" in checklist
    opened = [text for is_filled, text in items_of(checklist, "C[12]") if not is_filled]
    assert any("other than this search" in text for text in opened)
    assert any("settings that were not searched" in text for text in opened)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    section = page[page.index("## How the arms were chosen") : page.index("## Arms")]
    for text in (SELECTION["tried"], SELECTION["rule"], "| lr | 1e-06..0.001:log |"):
        assert str(text) in section
    assert re.search(r"^\| mean \| 0\.8125 \| 0\.80\d\d \|$", section, re.MULTILINE)
    assert re.search(r"^\| linear \| - \| 0\.70\d\d \|$", section, re.MULTILINE)


def test_device_hours_of_the_search_are_open_if_unknown(tmp_path: Path) -> None:
    study = made_up_study(tmp_path, {"linear": 0.7, "mean": 0.8})
    spec = dataclasses.replace(study.spec, selection={**SELECTION, "device_hours": None})
    checklist = write_checklist(collect_contents(dataclasses.replace(study, spec=spec)))
    opened = [text for is_filled, text in items_of(checklist, "C1") if not is_filled]
    assert any("device hours of the search" in text for text in opened)


def test_points_without_files_are_open(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    checklist = write_checklist(collect_contents(without_files(finished_study, tmp_path)))
    for item, num_filled in (("B6", 0), ("C1", 0)):
        assert sum(is_filled for is_filled, _ in items_of(checklist, item)) == num_filled
    assert all("**Open**" in text for is_filled, text in items_of(checklist, "C1") if not is_filled)


def test_checklist_of_a_study_that_has_not_started_is_written(finished_study: StudyOutcomes) -> None:
    waiting = [dataclasses.replace(outcome, state="waiting", result=None) for outcome in finished_study.outcomes]
    checklist = write_checklist(collect_contents(dataclasses.replace(finished_study, outcomes=waiting)))
    assert "6 waiting" in checklist
    assert items_of(checklist, "C3") == [(False, "**Open**: results: no arm has a value yet.")]
