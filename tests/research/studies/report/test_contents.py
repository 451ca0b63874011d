"""A study's report has all parts, or the reasons why parts are missing."""

from __future__ import annotations

import dataclasses
import html
import re
import shutil
from pathlib import Path

import yaml

from research.studies.grid import StudySpec
from research.studies.outcomes import StudyOutcomes
from research.studies.report.console import ranking_lines
from research.studies.report.contents import collect_contents
from research.studies.report.page import write_contents
from research.system.plain_text import for_markdown
from tests.builders.studies import run_study, table_cells, with_changed_outcomes, without_files


def test_study_without_local_files_is_still_ranked(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    contents = collect_contents(without_files(finished_study, tmp_path))
    assert contents.ranked == collect_contents(finished_study).ranked
    assert contents.reasons.keys() == {"rows", "models", "by length", "by label", "disagreements"}
    (reason,) = set(contents.reasons.values())
    assert "test" in reason  # the split whose predictions are missing
    assert [outcome for outcome, _ in contents.missing.with_missing_files] == list(contents.study.outcomes)
    page = write_contents(contents).read_text()
    assert f"Not shown: {reason}." in page
    # With these recipes, the commands on the page repeat the trials.
    recipes = re.findall(r"</summary><pre>(.*?)</pre>", page, re.DOTALL)
    assert [yaml.safe_load(html.unescape(recipe)) for recipe in recipes] == [
        outcome.trial.settings for outcome in finished_study.outcomes
    ]


def test_trial_with_damaged_predictions_is_skipped_and_named(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    outcome = finished_study.outcomes[5]  # the last of six
    copy = Path(shutil.copytree(outcome.directory, tmp_path / "trials" / outcome.trial.id))
    (copy / "predictions" / "test.parquet").write_bytes(b"PAR1 and no more")
    contents = collect_contents(with_changed_outcomes(finished_study, {5: {"directory": copy}}))
    (skipped_trial,) = contents.skipped_trials
    assert skipped_trial.startswith(f"{outcome.trial.id}: ")
    assert (len(contents.model_comparisons), contents.reasons) == (2, {})


def test_arms_with_different_data_are_not_compared_by_row(finished_study: StudyOutcomes) -> None:
    trial = finished_study.outcomes[2].trial  # the first of the second of three arms
    changed_trial = dataclasses.replace(trial, settings={**trial.settings, "data": "rotten_tomatoes"})
    contents = collect_contents(with_changed_outcomes(finished_study, {2: {"trial": changed_trial}}))
    assert contents.reasons.keys() == {"rows", "models", "by length", "by label", "disagreements"}
    (reason,) = set(contents.reasons.values())
    assert re.search(rf"data: .*{trial.settings['data']}.*rotten_tomatoes", reason)
    assert len(contents.ranked) == 3


def test_ranking_is_omitted_if_no_trial_has_the_metric(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    spec = dataclasses.replace(finished_study.spec, metric="pearson")
    contents = collect_contents(dataclasses.replace(finished_study, directory=tmp_path, spec=spec))
    assert contents.reasons.keys() == {"ranking"}
    assert "'pearson'" in contents.reasons["ranking"]
    page = html.unescape(write_contents(contents).read_text())
    assert f"Not shown: {contents.reasons['ranking']}" in page
    assert for_markdown(contents.reasons["ranking"]) in (tmp_path / "report.md").read_text()
    assert len(table_cells("costs", page)) == 3


def test_study_without_test_labels_can_be_compared_only_on_validation_rows(
    unlabelled_spec: StudySpec, tmp_path: Path
) -> None:
    study = run_study(tmp_path / "runs" / "s", unlabelled_spec)
    contents = collect_contents(study)
    assert (contents.reasons, contents.metric) == ({}, "accuracy")
    for ranked_arm, outcome in zip(sorted(contents.ranked, key=lambda arm: arm.arm), study.outcomes, strict=True):
        assert outcome.result is not None
        assert ranked_arm.values == {0: outcome.result["metrics"]["validation"]["accuracy"]}
    assert write_contents(contents).exists()
    assert "test/" not in (study.directory / "results.csv").read_text()

    on_test = dataclasses.replace(study, spec=dataclasses.replace(unlabelled_spec, split="test"))
    contents = collect_contents(on_test)
    assert [*contents.ranked, *contents.breakdowns, *contents.model_comparisons] == []
    assert set(contents.reasons.values()) == {contents.reasons["ranking"]}
    reason = contents.reasons["ranking"]
    assert re.search(r"test.*--split validation", reason)
    (line,) = ranking_lines(contents)
    assert reason in str(line)
    assert reason in write_contents(contents).read_text()
