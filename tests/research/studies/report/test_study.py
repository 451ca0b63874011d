"""The report of a study says what the files of its trials say, shows what is missing, and is read in a real browser."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import re
import shutil
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes, collect
from research.studies.report.console import ranking_lines
from research.studies.report.contents import find_contents
from research.studies.report.page import write_contents, write_study_report
from research.studies.report.ranking import rank_arms
from research.studies.storage.study import Entry
from research.system.plain_text import for_markdown
from research.system.terminal import Terminal
from tests.browser import look_at, needs_chromium, photograph
from tests.research.studies.report.conftest import HOSTILE
from tests.research.studies.report.studies import SMALL, changed, run_study, trial_of

PICTURES = {
    "Means, intervals and seeds",
    "Training loss",
    "Validation accuracy",
    "accuracy against time",
    "accuracy against trainable parameters",
}


@pytest.fixture(scope="module")
def page(finished_study: StudyOutcomes) -> Path:
    return write_study_report(finished_study)


def elsewhere(study: StudyOutcomes, directory: Path) -> StudyOutcomes:
    """Return the same study on a machine that has none of its files."""
    outcomes = [
        dataclasses.replace(
            outcome,
            directory=directory / "trials" / outcome.trial.id,
            result={"metrics": outcome.result["metrics"]} if outcome.result else None,
        )
        for outcome in study.outcomes
    ]
    return dataclasses.replace(study, directory=directory, outcomes=outcomes)


def rows_of(table: str, page: str) -> list[list[str]]:
    """Return the cells of a table's body, as they are read."""
    found = re.search(rf'id="{table}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert found is not None, table
    rows = re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in row] for row in cells]


def results(study: StudyOutcomes) -> dict[str, dict[str, Any]]:
    """Return what the result.json files themselves say."""
    return {o.trial.id: json.loads((o.directory / "result.json").read_text()) for o in study.outcomes}


@needs_chromium
@pytest.mark.parametrize("width", [1200, 390])
def test_page_renders_without_errors(page: Path, finished_study: StudyOutcomes, tmp_path: Path, width: int) -> None:
    alone = Path(shutil.copy(page, tmp_path / "report.html"))
    seen = look_at(alone, width=width)
    assert seen.errors == []
    assert seen.outside == [], "the page needs more than itself"
    assert (seen.window_width, seen.page_width) == (width, width), "the page must be scrolled sideways"
    assert seen.images.keys() == PICTURES
    assert all(seen.images.values()), seen.images
    assert f"Which is best? {HOSTILE}" in seen.text
    assert "3 arms, 2 seeds, 6 trials: 6 finished." in seen.text
    assert "What is missing" not in seen.text
    for text in ("Tests over examples: these trained models only", "unfreeze(modules='encoder.layer[-1:]')"):
        assert text in seen.text
    assert "none: a verdict takes 5 common seeds or more, there are 2" in seen.text
    assert all(arm in seen.text for arm in finished_study.arms)
    photograph(alone, tmp_path / "page.png", width=width)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_ranking_is_that_of_the_result_files(page: Path, finished_study: StudyOutcomes) -> None:
    found = results(finished_study)
    values: dict[str, list[float]] = {}
    for outcome in finished_study.outcomes:
        values.setdefault(outcome.trial.arm, []).append(found[outcome.trial.id]["metrics"]["test"]["accuracy"])
    means = {arm: statistics.fmean(of_arm) for arm, of_arm in values.items()}
    assert len(set(means.values())) > 1, "the study compares nothing"
    rows = rows_of("ranking", page.read_text())
    markdown = (page.parent / "report.md").read_text()
    assert [row[0].split(maxsplit=1)[1] for row in rows] == sorted(means, key=lambda arm: -means[arm])
    for row in rows:
        arm = row[0].split(maxsplit=1)[1]
        mean, spread = f"{means[arm]:.4f}", f"{statistics.stdev(values[arm]):.4f}"
        assert (row[1].split()[0], row[-3], row[-2]) == (mean, spread, "2")
        assert f"| 2 | {mean} | {spread} |" in markdown
        difference = f"{means[arm] - means['linear']:+.4f}"
        if arm == "linear":
            assert row[2] == "baseline"
        else:
            assert row[3].split()[0] == difference
            assert f"| {difference} |" in markdown
    assert markdown.splitlines()[0] == "# three"
    assert "&lt;script>document.body.remove()&lt;/script> &amp; &lt;b>bold" in markdown
    assert r"\| a_b\_ &#36;x\_{&#36;" in markdown


def test_csv_has_every_metric_of_every_trial(page: Path, finished_study: StudyOutcomes) -> None:
    with (page.parent / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(finished_study.outcomes)
    for row, (trial_id, result) in zip(rows, results(finished_study).items(), strict=True):
        assert (row["id"], row["state"]) == (trial_id, "finished")
        for split, metrics in result["metrics"].items():
            assert {name: float(row[f"{split}/{name}"]) for name in metrics} == metrics
        for name in ("steps", "train_seconds", "trainable_parameters", "weights_sha256"):
            assert row[name] == str(result[name])
    assert {row["arm"] for row in rows} == set(finished_study.arms)
    assert {row["axis/arm"] for row in rows} == set(finished_study.arms)


def test_page_has_costs_edits_settings_and_commands(page: Path, finished_study: StudyOutcomes) -> None:
    text, found = page.read_text(), results(finished_study)
    assert "<script" not in text
    outcome = next(o for o in finished_study.outcomes if o.trial.arm == HOSTILE)
    journal = [json.loads(line) for line in (outcome.directory / "journal.jsonl").read_text().splitlines()]
    frozen, unfrozen = (record["trainable_parameters"][1] for record in journal)
    costs = {row[0].split(maxsplit=1)[1]: row for row in rows_of("costs", text)}
    assert found[outcome.trial.id]["trainable_parameters"] == unfrozen
    middle = f"{round((frozen + unfrozen) / 2):,} (changes midway)"  # the edit is after step 2 of 4
    assert costs[HOSTILE][-2:] == [f"{unfrozen:,}", middle]
    edits = rows_of("edits", text)
    assert [row[1:3] for row in edits] == [
        ["0", "freeze(modules=['encoder'])"],
        ["2", "unfreeze(modules='encoder.layer[-1:]')"],
    ]
    assert edits[0][3] == "all"
    assert edits[1][3].endswith(f"{HOSTILE} (2 seeds)")
    header = re.search(r'id="differing">(.*?)</thead>', text, re.DOTALL)
    assert header is not None
    assert re.findall(r"<th>(\w+)</th>", header[1]) == ["arm", "head", "lr", "head_lr", "timeline"]
    differing = {row[0].split(maxsplit=1)[1]: row[1:] for row in rows_of("differing", text)}
    assert yaml.safe_load(differing["lstm"][0])["lstm_size"] == 8
    assert yaml.safe_load(differing["linear"][0]) == {"name": "linear", "dropout": 0.1}, "options are not filled in"
    shared = dict(re.findall(r"<tr(?: class=\"changed\")?><td>(\w+)</td><td><code>(.*?)</code>", text))
    assert shared["max_steps"] == "4"
    config = yaml.safe_load((outcome.directory / "config.yaml").read_text())
    assert shared.keys() | {"head", "lr", "head_lr", "timeline", "seed"} == config.keys()
    for each in finished_study.outcomes:
        assert f"experiments/run.py --recipe {each.directory / 'config.yaml'}" in text
        assert found[each.trial.id]["weights_sha256"] in text


def test_texts_are_of_validation_rows_and_escaped(page: Path) -> None:
    text = html.unescape(page.read_text())
    part = text[text.index('id="disagreements"') : text.index("<h2>Tests over examples")]
    shown = re.findall(r"<b>(\w+)</b> <span class=\"soft\">validation\.csv, row (\d+)</span>", part)
    assert shown
    for label, row in ((label, int(row) - 1) for label, row in shown):
        assert label == ("positive" if row % 2 else "negative")
        assert f"validation {row} " in part
    assert HOSTILE in part


@pytest.mark.parametrize("what", ["rows_sha256", "plugins"])
def test_what_changed_between_trials_takes_the_verdicts(
    finished_study: StudyOutcomes, tmp_path: Path, what: str
) -> None:
    assert finished_study.mixtures == []
    first = finished_study.outcomes[0]
    assert first.result is not None
    assert len(first.result["rows_sha256"]) == 64
    study = changed(finished_study, {0: {"result": {**first.result, what: {"a.py": "another"}}}})
    study = dataclasses.replace(study, directory=tmp_path)
    (mixture,) = study.mixtures
    of_arm = "|".join(each.trial.id for each in study.outcomes if each.trial.arm == first.trial.arm)
    assert re.search(f"changed between trials: ({of_arm}) had others than the rest$", mixture)
    ranked = rank_arms(study, "accuracy")
    reasons = [each.comparison.why_no_verdict for each in ranked if each.comparison is not None]
    assert reasons == [f"{mixture}; a verdict takes 5 common seeds or more, there are 2"] * 2
    assert mixture in html.unescape(write_study_report(study).read_text())
    assert for_markdown(mixture) in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("precision", "cache_dtype", "remedy"),
    [
        ("bf16", "float32", "--mixed_precision bf16 --cache_features false"),
        ("no", "bf16", "--cache_dtype float32"),
        ("no", "float32", None),
    ],
)
def test_hidden_states_of_different_rounding_take_the_verdicts(
    precision: str, cache_dtype: str, remedy: str | None
) -> None:
    def finished(arm: str, seed: int, *, cached: bool, **settings: Any) -> Outcome:
        trial = trial_of(arm, seed, cache_dtype=cache_dtype, **settings)
        metrics = {"test": {"accuracy": 0.5 + 0.01 * seed if arm == "linear" else 0.8 + 0.02 * seed}}
        result = {"metrics": metrics, "cached_features": cached, "mixed_precision": precision}
        return Outcome(trial, Path("nowhere"), "finished", result)

    frozen = {"freeze": ["encoder"]}
    outcomes = [finished(arm, seed, cached=True, **frozen) for arm in ("linear", "lstm") for seed in range(6)]
    # Their settings say that these run the encoder.
    outcomes += [finished("tuned", seed, cached=False) for seed in range(6)]
    study = StudyOutcomes(StudySpec(), Path("nowhere"), outcomes)
    assert study.mixtures == []
    study = dataclasses.replace(
        study, outcomes=[*outcomes[:11], finished("lstm", 5, cached=False, **frozen), *outcomes[12:]]
    )
    if remedy is None:
        assert study.mixtures == []
        assert _verdicts(study) == {"lstm": "better", "tuned": "better"}
    else:
        (mixture,) = study.mixtures
        assert "lstm-5" in mixture
        assert mixture.endswith(remedy)
        assert _verdicts(study) == {"lstm": None, "tuned": None}


def test_failed_trial_takes_the_verdicts_that_need_its_arm() -> None:
    outcomes = []
    for arm, better in (("linear", 0.0), ("lstm", 0.1), ("gru", 0.2)):
        for seed in range(6):
            value = 0.5 + better + 0.01 * seed + 0.001 * better * seed
            metrics = {split: {"accuracy": value} for split in ("validation", "test")}
            outcomes.append(Outcome(trial_of(arm, seed), Path("nowhere"), "finished", {"metrics": metrics}))
    study = StudyOutcomes(StudySpec(), Path("nowhere"), outcomes)
    assert study.failed_seeds == {"linear": (), "lstm": (), "gru": ()}
    assert _verdicts(study) == {"lstm": "better", "gru": "better"}
    failed = {"state": "failed", "result": None, "error": "the loss is nan"}
    study_without_lstm = changed(study, {11: failed})
    assert study_without_lstm.failed_seeds["lstm"] == (5,)
    assert _verdicts(study_without_lstm) == {"lstm": None, "gru": "better"}
    assert _verdicts(changed(study, {5: failed})) == {"lstm": None, "gru": None}
    lstm = next(each for each in rank_arms(study_without_lstm, "accuracy") if each.arm == "lstm")
    assert (lstm.summary.seeds, lstm.failed_seeds) == ((0, 1, 2, 3, 4), (5,))


def test_seed_that_failed_and_left_the_grid_is_mentioned_with_the_verdict(tmp_path: Path) -> None:
    entries: dict[str, Entry] = {}
    for arm, better in (("linear", 0.0), ("lstm", 0.1)):
        for seed in range(6):
            value = 0.5 + better + 0.01 * seed + 0.001 * better * seed
            metrics = {split: {"accuracy": value} for split in ("validation", "test")}
            trial = trial_of(arm, seed, head=arm)
            entries[trial.id] = Entry(trial, TrialState.COMPLETE, {"metrics": metrics}, len(entries), value)
    trials = [entry.trial for entry in entries.values()]
    error = {"error": "the loss\nis nan."}
    failed = trial_of("lstm", 6, head="lstm")
    other = trial_of("lstm", 7, head="lstm", lr=0.5)  # an arm of an earlier grid that had the same name
    for each in (failed, other):
        entries[each.id] = Entry(each, TrialState.FAIL, error, len(entries))
    study = collect(StudySpec(name="written"), trials, entries, tmp_path)
    assert [each.trial for each in study.failed_before] == [failed]
    lstm, linear = rank_arms(study, "accuracy")
    assert (lstm.arm, lstm.failed_before, linear.failed_before) == ("lstm", {6: "the loss is nan"}, {})
    contents = find_contents(study)
    console = io.StringIO()
    for line in ranking_lines(contents):
        Terminal(file=console, width=300).print(line)
    pages = {console.getvalue(), write_contents(contents).read_text(), (tmp_path / "report.md").read_text()}
    assert all("seed 6 failed" in page and "the loss is nan" in page for page in pages)
    assert not any("seed 7" in page for page in pages)


def test_intervals_in_the_ranking_stay_within_the_range_of_the_metric() -> None:
    outcomes = [
        Outcome(trial_of("lstm", seed), Path("nowhere"), "finished", {"metrics": {"test": {"accuracy": value}}})
        for seed, value in enumerate((1.0, 0.93, 0.98))
    ]
    (lstm,) = rank_arms(StudyOutcomes(StudySpec(), Path("nowhere"), outcomes), "accuracy")
    assert lstm.summary.interval is not None
    assert 0 < lstm.summary.interval[0] < 0.97 < lstm.summary.interval[1] < 1


def _verdicts(study: StudyOutcomes) -> dict[str, str | None]:
    ranked = rank_arms(study, "accuracy")
    return {each.arm: each.comparison.verdict for each in ranked if each.comparison is not None}


def test_page_for_others_has_no_texts(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    study = dataclasses.replace(finished_study, directory=tmp_path)
    page = html.unescape(write_study_report(study, show_texts=False).read_text())
    assert "Left out: texts were to be left out (--report_texts false)." in page
    assert 'id="disagreements"' not in page
    assert not re.search(r"\b(validation|test) \d+ \w+ \w+", page), "a row's text"
    assert "length of the text" in page


def test_tensorboard_has_each_trial_once(page: Path, finished_study: StudyOutcomes) -> None:
    write_study_report(finished_study)
    folder = page.parent / "tensorboard"
    assert {path.name for path in folder.iterdir()} == {o.trial.id for o in finished_study.outcomes}
    for outcome in finished_study.outcomes:
        (file,) = (folder / outcome.trial.id).iterdir()
        events = EventAccumulator(str(file))
        events.Reload()
        metrics = json.loads((outcome.directory / "result.json").read_text())["metrics"]
        expected = {f"{split}/{name}": value for split in metrics for name, value in metrics[split].items()}
        assert set(events.Tags()["scalars"]) == expected.keys()
        for name, value in expected.items():
            (event,) = events.Scalars(name)
            assert event.value == pytest.approx(value, rel=1e-6)
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        given = HParamsPluginData.FromString(content).session_start_info.hparams
        assert given["arm"].string_value == outcome.trial.arm
        assert given["seed"].number_value == outcome.trial.seed
        assert given.keys() == {"arm", "seed", "head", "lr", "head_lr", "timeline"}
        assert given["head_lr"].number_value == outcome.trial.settings["head_lr"]


def test_report_is_the_same_when_written_again(page: Path, finished_study: StudyOutcomes) -> None:
    before = {name: (page.parent / name).read_bytes() for name in ("report.html", "report.md", "results.csv")}
    write_study_report(finished_study)
    assert {name: (page.parent / name).read_bytes() for name in before} == before


@needs_chromium
def test_what_is_missing_is_shown(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    failure = f"OutOfMemoryError: {HOSTILE}"
    result = finished_study.outcomes[3].result
    assert result is not None
    study = changed(
        dataclasses.replace(finished_study, directory=tmp_path, num_others=3),
        {
            0: {"state": "failed", "result": None, "error": failure},
            1: {"state": "waiting", "result": None},
            2: {"state": "running", "result": None},
            3: {
                "directory": tmp_path / "trials" / "gone",
                "result": {"metrics": result["metrics"]},
            },
        },
    )
    page = write_study_report(study)
    seen = look_at(page)
    assert seen.errors == []
    assert "3 finished, 1 running, 1 waiting, 1 failed." in seen.text
    assert "3 more finished trials, which the grid does not ask for now" in seen.text
    missing = seen.text[seen.text.index("What is missing") : seen.text.index("Arms by accuracy")]
    ids = [outcome.trial.id for outcome in study.outcomes]
    assert failure in missing
    assert [each in missing for each in ids] == [True] * 4 + [False] * 2
    assert f"{ids[3]}: all of them" in missing
    assert f"Without 1 finished trial: {ids[3]}: not on this machine" in seen.text
    assert "no value" in page.read_text()  # of the baseline
    assert "Left out: there are predictions of one arm only on this machine." in seen.text
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


def test_study_whose_files_are_elsewhere_is_still_ranked(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    page = write_study_report(elsewhere(finished_study, tmp_path)).read_text()
    here = write_study_report(finished_study).read_text()
    assert rows_of("ranking", page) == rows_of("ranking", here)
    assert "Left out: there are no predictions for test rows on this machine." in page
    assert page.count("all of them") == 6
    # What repeats a trial is all here.
    recipes = re.findall(r"which it left nowhere on this machine</summary><pre>(.*?)</pre>", page, re.DOTALL)
    assert [yaml.safe_load(html.unescape(recipe)) for recipe in recipes] == [
        outcome.trial.settings for outcome in finished_study.outcomes
    ]


def test_one_damaged_file_is_left_out_by_name(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    outcome = finished_study.outcomes[5]
    copy = Path(shutil.copytree(outcome.directory, tmp_path / "trials" / outcome.trial.id))
    (copy / "predictions" / "test.parquet").write_bytes(b"PAR1 and no more")
    study = changed(dataclasses.replace(finished_study, directory=tmp_path), {5: {"directory": copy}})
    page = write_study_report(study).read_text()
    assert f"Without 1 finished trial: {outcome.trial.id}: cannot be read" in page
    assert len(rows_of("models", page)) == 2


def test_texts_that_are_gone_leave_the_rest(
    finished_study: StudyOutcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(finished_study.outcomes[0].trial.settings["data"])
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))
    data.rename(data.with_name("moved"))
    try:
        page = write_study_report(dataclasses.replace(finished_study, directory=tmp_path)).read_text()
    finally:
        data.with_name("moved").rename(data)
    assert page.count(f"There is no file or folder &#39;{data}&#39;") == 2  # lengths and texts
    assert len(rows_of("by-label", page)) == len(rows_of("models", page)) == 2


def test_texts_that_changed_since_are_not_shown(
    finished_study: StudyOutcomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(tmp_path / "cache"))
    files = [
        Path(finished_study.outcomes[0].trial.settings["data"]) / f"{split}.csv" for split in ("validation", "test")
    ]
    before = [file.read_text() for file in files]
    try:
        files[0].write_text("\n".join(before[0].splitlines()[:-1]) + "\n")  # a row less
        files[1].write_text(
            before[1].replace(",positive", ",?").replace(",negative", ",positive").replace(",?", ",negative")
        )
        page = write_study_report(dataclasses.replace(finished_study, directory=tmp_path)).read_text()
    finally:
        for file, text in zip(files, before, strict=True):
            file.write_text(text)
    assert page.count("the data hold other rows now than those that the trials predicted") == 2
    assert 'id="disagreements"' not in page
    assert 'id="by-length"' not in page


def test_nothing_finished_yet_is_a_report(tmp_path: Path) -> None:
    outcomes = [Outcome(trial_of("linear", seed), tmp_path / str(seed), "waiting") for seed in (0, 1)]
    page = write_study_report(StudyOutcomes(StudySpec(name="new"), tmp_path, outcomes))
    assert "1 arm, 2 seeds, 2 trials: 2 waiting." in page.read_text()
    assert "No trial is finished." in page.read_text()
    assert "No trial is finished." in (tmp_path / "report.md").read_text()
    assert list((tmp_path / "tensorboard").iterdir()) == []


@needs_chromium
def test_one_arm_and_one_seed_is_a_report(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    study = dataclasses.replace(finished_study, directory=tmp_path, outcomes=finished_study.outcomes[4:5])
    seen = look_at(write_study_report(study))
    assert seen.errors == []
    assert seen.images.keys() == PICTURES
    assert all(seen.images.values())
    assert "1 arm, 1 seed, 1 trial: 1 finished." in seen.text
    assert "Left out: there is one arm." in seen.text
    assert "There is nothing to compare the baseline with." in seen.text


def test_arms_with_other_data_are_not_compared_row_by_row(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    trial = finished_study.outcomes[2].trial
    other = dataclasses.replace(trial, settings={**trial.settings, "data": "rotten_tomatoes"})
    study = changed(dataclasses.replace(finished_study, directory=tmp_path), {2: {"trial": other}})
    page = write_study_report(study).read_text()
    assert page.count("the trials read different data (data: ") == 4
    assert len(rows_of("ranking", page)) == 3


def test_metric_that_a_trial_has_not_is_said(finished_study: StudyOutcomes, tmp_path: Path) -> None:
    study = dataclasses.replace(
        finished_study, directory=tmp_path, spec=dataclasses.replace(finished_study.spec, metric="pearson")
    )
    page = html.unescape(write_study_report(study).read_text())
    assert "Left out: No metric 'pearson' in" in page
    assert "No comparison: No metric 'pearson' in" in (tmp_path / "report.md").read_text()
    assert len(rows_of("costs", page)) == 3


def write_data(folder: Path, kind: str) -> Path:
    """Write a data set whose labels can be learned from its words."""
    folder.mkdir()
    for split, number in (("train", 24), ("validation", 10), ("test", 12)):
        lines = []
        for row in range(number):
            text = f"{split} {row} {'good great' if row % 2 else 'bad poor'} {'film ' * (row % 7)}"
            label: Any = (["<i>a</i>"] if row % 2 else []) + (["b"] if row % 3 else [])
            lines.append(json.dumps({"text": text, "label": label if kind == "multi_label" else row % 5 + 0.5}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@needs_chromium
@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("kind", "metric", "words"),
    [("multi_label", "subset_accuracy", "F1 of the label"), ("regression", "pearson", "mean distance from the score")],
)
def test_other_kinds_of_labels_have_a_report(
    tiny_encoder: Path, tmp_path: Path, kind: str, metric: str, words: str
) -> None:
    base: Mapping[str, Any] = {**SMALL, "encoder": str(tiny_encoder), "data": str(write_data(tmp_path / "data", kind))}
    spec = StudySpec(name=kind, base={**base, "head_lr": 0.05}, grid={"head": ["linear", "mean"], "seed": [0]})
    study = run_study(tmp_path / "runs", spec)
    page = write_study_report(study)
    seen = look_at(page, width=390)
    assert (seen.errors, seen.page_width) == ([], 390)
    assert all(seen.images.values())
    assert f"Arms by {metric} on test rows" in seen.text
    assert words in seen.text.lower() or words in seen.text
    values = {o.trial.arm: o.result["metrics"]["test"][metric] for o in study.outcomes if o.result}
    found = {row[0].split()[1]: row[1].split()[0] for row in rows_of("ranking", page.read_text())}
    assert found == {arm: f"{value:.4f}" for arm, value in values.items()}
    assert len(rows_of("models", page.read_text())) == 1
    assert ("never simply right" in seen.text) == (kind == "regression")
    if kind == "multi_label":
        assert [row[0] for row in rows_of("by-label", page.read_text())] == ["<i>a</i>", "b"]
