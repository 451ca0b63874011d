"""The report page of a study renders in a real browser, with all of its parts."""

from __future__ import annotations

import csv
import dataclasses
import html
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.contents import Contents, collect_contents
from research.studies.report.page import write_contents, write_study_report
from research.studies.statistics.over_rows import SCOPE
from tests.browser import needs_chromium, open_page, take_screenshot
from tests.builders.studies import (
    FAST_SETTINGS,
    HOSTILE,
    make_trial,
    read_result_files,
    run_study,
    table_cells,
    with_changed_outcomes,
)

IMAGES = {
    "Means, confidence intervals and seeds",
    "Training loss",
    "Validation accuracy",
    "accuracy against time",
    "accuracy against trainable parameters",
}
"""Titles of the images on the page."""


@needs_chromium
@pytest.mark.parametrize("width", [1200, 390])
def test_page_renders_without_errors(page: Path, contents: Contents, tmp_path: Path, width: int) -> None:
    copy = Path(shutil.copy(page, tmp_path / "report.html"))
    rendered = open_page(copy, width=width)
    assert rendered.errors == []
    assert rendered.external_urls == [], "the page loads external resources"
    assert (rendered.window_width, rendered.page_width) == (width, width), "the page needs horizontal scrolling"
    assert rendered.image_titles == IMAGES
    assert all(rendered.images.values()), rendered.images
    assert f"Which is best? {HOSTILE}" in rendered.text
    assert "Missing results" not in rendered.text
    reasons = {arm.comparison.why_no_verdict for arm in contents.ranked if arm.comparison is not None}
    for text in (contents.summary, SCOPE, "unfreeze(modules='encoder.layer[-1:]')", *reasons, *contents.study.arms):
        assert text is not None
        assert text in rendered.text
    take_screenshot(copy, tmp_path / "page.png", width=width)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_page_has_costs_edits_settings_and_commands(page: Path, finished_study: StudyOutcomes) -> None:
    text, result_files = page.read_text(), read_result_files(finished_study)
    assert text.count("<script") == 1  # sorts tables
    outcome = next(outcome for outcome in finished_study.outcomes if outcome.trial.arm == HOSTILE)
    journal = [json.loads(line) for line in (outcome.directory / "journal.jsonl").read_text().splitlines()]
    # Numbers of trainable parameters after the edit before the first step, and after the edit midway.
    frozen, unfrozen = (record["trainable_parameters"][1] for record in journal)
    # The first cell of a row contains the arm's marker and its name.
    costs = {row[0].split(maxsplit=1)[1]: row for row in table_cells("costs", text)}
    assert result_files[outcome.trial.id]["trainable_parameters"] == unfrozen
    mean_text = f"{round((frozen + unfrozen) / 2):,} changes during training"  # the edit is applied after step 2 of 4
    assert costs[HOSTILE][-2:] == [f"{unfrozen:,}", mean_text]
    edits = table_cells("edits", text)
    assert [row[1:3] for row in edits] == [
        ["0", "freeze(modules=['encoder'])"],
        ["2", "unfreeze(modules='encoder.layer[-1:]')"],
    ]
    assert edits[0][3] == "all"
    assert edits[1][3].endswith(f"{HOSTILE} (2 seeds)")
    header = re.search(r'id="differing">(.*?)</thead>', text, re.DOTALL)
    assert header is not None
    assert re.findall(r"<th[^>]*>(\w+)</th>", header[1]) == ["arm", "head", "lr", "head_lr", "timeline"]
    differing = {row[0].split(maxsplit=1)[1]: row[1:] for row in table_cells("differing", text)}
    assert yaml.safe_load(differing["lstm"][0])["lstm_size"] == 8
    assert yaml.safe_load(differing["linear"][0]) == {"name": "linear", "dropout": 0.1}, "options are not resolved"
    shared = dict(re.findall(r"<tr(?: class=\"changed\")?><th scope=\"row\">(\w+)</th><td><code>(.*?)</code>", text))
    assert shared["max_steps"] == "4"
    config = yaml.safe_load((outcome.directory / "config.yaml").read_text())
    assert shared.keys() | {"head", "lr", "head_lr", "timeline", "seed"} == config.keys()
    for finished in finished_study.outcomes:
        assert f"experiments/run.py --recipe {finished.directory / 'config.yaml'}" in text
        assert result_files[finished.trial.id]["weights_sha256"] in text


def test_page_shows_escaped_texts_of_validation_rows(page: Path) -> None:
    text = html.unescape(page.read_text())
    part = text[text.index('id="disagreements"') : text.index('<h2 id="section-rows"')]
    shown_rows = re.findall(r"<b>(\w+)</b> <span class=\"soft\">validation\.csv, row (\d+)</span>", part)
    assert shown_rows
    # In `tiny_reviews`, texts start with the split and the index of the row, and every second row is positive.
    for label, row in ((label, int(row) - 1) for label, row in shown_rows):
        assert label == ("positive" if row % 2 else "negative")
        assert f"validation {row} " in part
    assert HOSTILE in part


def test_page_can_hide_texts(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    study = dataclasses.replace(finished_study, directory=tmp_path)
    contents = collect_contents(study, show_texts=False)
    assert "--report_texts false" in contents.reasons["disagreements"]
    page = html.unescape(write_contents(contents).read_text())
    assert f"Not shown: {contents.reasons['disagreements']}." in page
    assert 'id="disagreements"' not in page
    assert not re.search(r"\b(validation|test) \d+ \w+ \w+", page), "the page shows a row's text"
    assert "length of the text" in page  # the breakdown by length shows no texts


def test_report_is_deterministic(page: Path, finished_study: StudyOutcomes) -> None:
    before = {name: (page.parent / name).read_bytes() for name in ("report.html", "report.md", "results.csv")}
    write_study_report(finished_study)
    assert {name: (page.parent / name).read_bytes() for name in before} == before


@needs_chromium
def test_page_shows_missing_results(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    failure = f"OutOfMemoryError: {HOSTILE}"
    result = finished_study.outcomes[3].result
    assert result is not None
    study = with_changed_outcomes(
        dataclasses.replace(finished_study, directory=tmp_path, num_finished_outside_grid=3),
        {
            # 0 and 1 are the trials of the baseline.
            0: {"state": "failed", "result": None, "error": failure},
            1: {"state": "waiting", "result": None},
            2: {"state": "running", "result": None},
            3: {
                "directory": tmp_path / "trials" / "on_another_machine",
                "result": {"metrics": result["metrics"]},
            },
        },
    )
    contents = collect_contents(study)
    page = write_contents(contents)
    rendered = open_page(page)
    assert rendered.errors == []
    assert re.search(r"3 finished, 1 running, 1 waiting, 1 failed.* 3 more", contents.summary)
    assert contents.summary in rendered.text
    missing = rendered.text[rendered.text.rindex("Missing results") : rendered.text.rindex("Arms, ranked by accuracy")]
    ids = [outcome.trial.id for outcome in study.outcomes]
    assert failure in missing
    assert [trial_id in missing for trial_id in ids] == [True] * 4 + [False] * 2
    ((_, files),) = contents.missing.with_missing_files
    assert f"{ids[3]}: {', '.join(files)}" in missing
    assert [message.partition(":")[0] for message in contents.skipped_trials] == [ids[3]]
    assert contents.skipped_trials[0] in rendered.text
    assert "no value" in page.read_text()  # no trial of the baseline is finished
    assert f"Not shown: {contents.reasons['disagreements']}." in rendered.text
    markdown = (tmp_path / "report.md").read_text()
    assert f"running: {ids[2]}" in markdown
    assert "OutOfMemoryError: &lt;script>" in markdown
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["failed", "waiting", "running", "finished", "finished", "finished"]
    assert rows[0]["error"] == failure
    assert rows[0]["test/accuracy"] == ""
    assert rows[3]["test/accuracy"] != ""
    assert {path.name for path in (tmp_path / "tensorboard").iterdir()} == set(ids[3:])


def test_report_is_written_without_finished_trials(tmp_path: Path) -> None:
    outcomes = [Outcome(make_trial("linear", seed), tmp_path / str(seed), "waiting") for seed in (0, 1)]
    page = write_study_report(StudyOutcomes(StudySpec(name="new"), tmp_path, outcomes))
    assert "1 arm, 2 seeds, 2 trials: 2 waiting" in page.read_text()
    assert "| arm |" not in (tmp_path / "report.md").read_text()
    assert list((tmp_path / "tensorboard").iterdir()) == []


@needs_chromium
def test_report_of_one_arm_and_one_seed_has_no_comparisons(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    seed_0_of_lstm = finished_study.outcomes[4]
    study = dataclasses.replace(finished_study, directory=tmp_path, outcomes=[seed_0_of_lstm])
    contents = collect_contents(study)
    rendered = open_page(write_contents(contents))
    assert rendered.errors == []
    assert rendered.image_titles == IMAGES
    assert all(rendered.images.values())
    assert "1 arm, 1 seed, 1 trial: 1 finished" in rendered.text
    assert [arm.comparison for arm in contents.ranked] == [None]
    assert contents.model_comparisons == []
    assert contents.reasons.keys() == {"disagreements"}
    assert f"Not shown: {contents.reasons['disagreements']}." in rendered.text


def write_data(folder: Path, task: str) -> Path:
    """Write a data set for the task multi_label or regression."""
    folder.mkdir()
    for split, num_rows in (("train", 24), ("validation", 10), ("test", 12)):
        lines = []
        for row in range(num_rows):
            text = f"{split} {row} {'good great' if row % 2 else 'bad poor'} {'film ' * (row % 7)}"
            label: Any = (["<i>a</i>"] if row % 2 else []) + (["b"] if row % 3 else [])
            lines.append(json.dumps({"text": text, "label": label if task == "multi_label" else row % 5 + 0.5}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@needs_chromium
@pytest.mark.usefixtures("use_session_cache")
@pytest.mark.parametrize(
    ("task", "metric", "measure"),
    [("multi_label", "subset_accuracy", "F1 of the label"), ("regression", "pearson", "mean distance from the score")],
)
def test_report_supports_multi_label_and_regression_tasks(
    tiny_encoder: Path, tmp_path: Path, task: str, metric: str, measure: str
) -> None:
    base: Mapping[str, Any] = {
        **FAST_SETTINGS,
        "encoder": str(tiny_encoder),
        "data": str(write_data(tmp_path / "data", task)),
    }
    spec = StudySpec(name=task, base={**base, "head_lr": 0.05}, grid={"head": ["linear", "mean"], "seed": [0]})
    study = run_study(tmp_path / "runs", spec)
    page = write_study_report(study)
    rendered = open_page(page, width=390)
    assert (rendered.errors, rendered.page_width) == ([], 390)
    assert all(rendered.images.values())
    assert f"Arms, ranked by {metric} on test rows" in rendered.text
    assert measure in rendered.text.lower() or measure in rendered.text  # a title may start with a capital letter
    values = {
        outcome.trial.arm: outcome.result["metrics"]["test"][metric] for outcome in study.outcomes if outcome.result
    }
    ranking = {row[0].split()[1]: row[1].split()[0] for row in table_cells("ranking", page.read_text())}
    assert ranking == {arm: f"{value:.4f}" for arm, value in values.items()}
    assert len(table_cells("models", page.read_text())) == 1
    # For regression, the table of models says why it has no p values.
    assert ("not simply right" in rendered.text) == (task == "regression")
    if task == "multi_label":
        assert [row[0] for row in table_cells("by-label", page.read_text())] == ["<i>a</i>", "b"]
