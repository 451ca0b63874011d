"""Arms are ranked, and the report says why an arm has no verdict."""

from __future__ import annotations

import io
import statistics
from pathlib import Path

from optuna.trial import TrialState

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes, collect_outcomes
from research.studies.report.console import ranking_lines
from research.studies.report.contents import collect_contents
from research.studies.report.page import write_contents
from research.studies.report.ranking import rank_arms
from research.studies.storage.trials import StorageEntry
from research.system.terminal import Terminal
from tests.builders.studies import accuracy_verdicts, make_trial, read_result_files, table_cells, with_changed_outcomes


def test_ranking_matches_the_result_files(page: Path, finished_study: StudyOutcomes) -> None:
    result_files = read_result_files(finished_study)
    values: dict[str, list[float]] = {}
    for outcome in finished_study.outcomes:
        values.setdefault(outcome.trial.arm, []).append(result_files[outcome.trial.id]["metrics"]["test"]["accuracy"])
    means = {arm: statistics.fmean(arm_values) for arm, arm_values in values.items()}
    assert len(set(means.values())) > 1, "all arms have the same mean"
    rows = table_cells("ranking", page.read_text())
    markdown = (page.parent / "report.md").read_text()
    # Columns: arm (marker and name), mean, difference, p (Holm), verdict, p, standard deviation, seeds, seeds needed.
    assert [row[0].split(maxsplit=1)[1] for row in rows] == sorted(means, key=lambda arm: -means[arm])
    for row in rows:
        arm = row[0].split(maxsplit=1)[1]
        mean, deviation = f"{means[arm]:.4f}", f"{statistics.stdev(values[arm]):.4f}"
        assert (row[1].split()[0], row[-3], row[-2]) == (mean, deviation, "2")
        assert f"| 2 | {mean} | {deviation} |" in markdown
        difference = f"{means[arm] - means['linear']:+.4f}"
        if arm == "linear":
            assert row[4] == "baseline"
        else:
            assert row[2].split()[0] == difference
            assert f"| {difference} |" in markdown
    assert markdown.splitlines()[0] == "# three"  # the name of the study
    # Parts of the arm name HOSTILE, escaped for Markdown.
    assert "&lt;script>document.body.remove()&lt;/script> &amp; &lt;b>bold" in markdown
    assert r"\| a_b\_ &#36;x\_{&#36;" in markdown


def test_arms_on_other_rows_have_no_verdict() -> None:
    outcomes = []
    for arm, gain, settings in (
        ("linear", 0.0, {}),
        ("lstm", 0.1, {"limit_train": 50}),
        ("gru", 0.1, {"split_seed": 1}),
    ):
        for seed in range(6):
            metrics = {"test": {"accuracy": 0.5 + gain + 0.01 * seed + 0.001 * gain * seed}}
            trial = make_trial(arm, seed, **settings)
            outcomes.append(Outcome(trial, Path("nowhere"), "finished", {"metrics": metrics}))
    study = StudyOutcomes(StudySpec(), Path("nowhere"), outcomes)
    assert accuracy_verdicts(study) == {"lstm": "better", "gru": None}
    (gru,) = (each.comparison for each in rank_arms(study, "accuracy") if each.arm == "gru")
    assert gru is not None
    assert gru.why_no_verdict == "split_seed differs, so that they were measured on different rows"


def test_failed_trial_removes_the_verdict_of_its_arm_or_all_verdicts_if_the_arm_is_the_baseline() -> None:
    outcomes = []
    for arm, gain in (("linear", 0.0), ("lstm", 0.1), ("gru", 0.2)):
        for seed in range(6):
            value = 0.5 + gain + 0.01 * seed + 0.001 * gain * seed  # a constant difference would get no verdict
            metrics = {split: {"accuracy": value} for split in ("validation", "test")}
            outcomes.append(Outcome(make_trial(arm, seed), Path("nowhere"), "finished", {"metrics": metrics}))
    study = StudyOutcomes(StudySpec(), Path("nowhere"), outcomes)
    assert study.failed_seeds == {"linear": (), "lstm": (), "gru": ()}
    assert accuracy_verdicts(study) == {"lstm": "better", "gru": "better"}
    failed = {"state": "failed", "result": None, "error": "the loss is nan"}
    study_with_failure = with_changed_outcomes(study, {11: failed})  # seed 5 of lstm
    assert study_with_failure.failed_seeds["lstm"] == (5,)
    assert accuracy_verdicts(study_with_failure) == {"lstm": None, "gru": "better"}
    baseline_failed = with_changed_outcomes(study, {5: failed})  # seed 5 of linear
    assert accuracy_verdicts(baseline_failed) == {"lstm": None, "gru": None}
    lstm = next(ranked for ranked in rank_arms(study_with_failure, "accuracy") if ranked.arm == "lstm")
    assert (lstm.summary.seeds, lstm.failed_seeds) == ((0, 1, 2, 3, 4), (5,))


def test_failed_seed_outside_the_grid_is_noted(tmp_path: Path) -> None:
    entries: dict[str, StorageEntry] = {}
    for arm, gain in (("linear", 0.0), ("lstm", 0.1)):
        for seed in range(6):
            value = 0.5 + gain + 0.01 * seed + 0.001 * gain * seed
            metrics = {split: {"accuracy": value} for split in ("validation", "test")}
            trial = make_trial(arm, seed, head=arm)
            entries[trial.id] = StorageEntry(trial, TrialState.COMPLETE, {"metrics": metrics}, len(entries), value)
    trials = [entry.trial for entry in entries.values()]
    error = {"error": "the loss\nis nan."}
    failed = make_trial("lstm", 6, head="lstm")
    # The arm of this trial has the same name but different settings.
    failed_in_earlier_grid = make_trial("lstm", 7, head="lstm", lr=0.5)
    for failed_trial in (failed, failed_in_earlier_grid):
        entries[failed_trial.id] = StorageEntry(failed_trial, TrialState.FAIL, error, len(entries))
    study = collect_outcomes(StudySpec(name="written"), trials, entries, tmp_path)
    assert [outcome.trial for outcome in study.failed_outside_grid] == [failed]
    lstm, linear = rank_arms(study, "accuracy")
    assert (lstm.arm, lstm.failed_outside_grid, linear.failed_outside_grid) == ("lstm", {6: "the loss is nan"}, {})
    contents = collect_contents(study)
    console = io.StringIO()
    for line in ranking_lines(contents):
        Terminal(file=console, width=300).print(line)
    outputs = {console.getvalue(), write_contents(contents).read_text(), (tmp_path / "report.md").read_text()}
    assert all("seed 6 failed" in output and "the loss is nan" in output for output in outputs)
    assert not any("seed 7" in output for output in outputs)


def test_intervals_in_the_ranking_stay_within_the_range_of_the_metric() -> None:
    outcomes = [
        Outcome(make_trial("lstm", seed), Path("nowhere"), "finished", {"metrics": {"test": {"accuracy": value}}})
        for seed, value in enumerate((1.0, 0.93, 0.98))
    ]
    (lstm,) = rank_arms(StudyOutcomes(StudySpec(), Path("nowhere"), outcomes), "accuracy")
    assert lstm.summary.interval is not None
    assert 0 < lstm.summary.interval[0] < 0.97 < lstm.summary.interval[1] < 1
