"""The outcomes of a study's trials are collected, and checked for differences that prevent verdicts."""

from __future__ import annotations

import dataclasses
import html
import math
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from research.studies.grid import StudySpec, Trial
from research.studies.outcomes import Outcome, StudyOutcomes, collect_outcomes
from research.studies.report.page import write_study_report
from research.studies.report.ranking import rank_arms
from research.studies.storage.trials import UNDEFINED_METRIC, StorageEntry
from research.system.plain_text import for_markdown
from tests.builders.studies import accuracy_verdicts, make_trial, with_changed_outcomes


@pytest.mark.parametrize("key", ["rows_sha256", "plugins"])
def test_changed_data_or_plugins_remove_the_verdicts(finished_study: StudyOutcomes, tmp_path: Path, key: str) -> None:
    assert finished_study.inconsistencies == []
    first = finished_study.outcomes[0]
    assert first.result is not None
    assert len(first.result["rows_sha256"]) == 64
    changed_result = {**first.result, key: {"a.py": "another digest"}}  # for both keys, any different value will do
    study = with_changed_outcomes(finished_study, {0: {"result": changed_result}})
    study = dataclasses.replace(study, directory=tmp_path)
    (inconsistency,) = study.inconsistencies
    ids = [outcome.trial.id for outcome in study.outcomes if outcome.trial.arm == first.trial.arm]
    # With one seed against one, there is no majority: the message names either of them.
    assert sum(trial_id in inconsistency for trial_id in ids) == 1
    # Two seeds are too few for a verdict, so there is already a reason before the change.
    before = {
        ranked.arm: ranked.comparison.why_no_verdict
        for ranked in rank_arms(finished_study, "accuracy")
        if ranked.comparison
    }
    after = {
        ranked.arm: ranked.comparison.why_no_verdict for ranked in rank_arms(study, "accuracy") if ranked.comparison
    }
    assert len(before) == 2
    assert after == {arm: f"{inconsistency}; {reason}" for arm, reason in before.items()}
    assert inconsistency in html.unescape(write_study_report(study).read_text())
    assert for_markdown(inconsistency) in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("precision", "cache_dtype", "remedy"),
    [
        ("bf16", "float32", "--mixed_precision bf16 --cache_features false"),
        ("no", "bf16", "--cache_dtype float32"),
        ("no", "float32", None),
    ],
)
def test_differently_rounded_hidden_states_remove_the_verdicts(
    precision: str, cache_dtype: str, remedy: str | None
) -> None:
    def finished_outcome(arm: str, seed: int, *, cached: bool, **settings: Any) -> Outcome:
        trial = make_trial(arm, seed, cache_dtype=cache_dtype, **settings)
        metrics = {"test": {"accuracy": 0.5 + 0.01 * seed if arm == "linear" else 0.8 + 0.02 * seed}}
        result = {"metrics": metrics, "cached_features": cached, "mixed_precision": precision}
        return Outcome(trial, Path("nowhere"), "finished", result)

    frozen = {"freeze": ["encoder"]}
    outcomes = [finished_outcome(arm, seed, cached=True, **frozen) for arm in ("linear", "lstm") for seed in range(6)]
    # In these trials, the encoder is not frozen: they must run it, which is not an inconsistency.
    outcomes += [finished_outcome("tuned", seed, cached=False) for seed in range(6)]
    study = StudyOutcomes(StudySpec(), Path("nowhere"), outcomes)
    assert study.inconsistencies == []
    # Seed 5 of lstm, at index 11, ran the encoder although it is frozen.
    study = dataclasses.replace(
        study, outcomes=[*outcomes[:11], finished_outcome("lstm", 5, cached=False, **frozen), *outcomes[12:]]
    )
    if remedy is None:
        assert study.inconsistencies == []
        assert accuracy_verdicts(study) == {"lstm": "better", "tuned": "better"}
    else:
        (inconsistency,) = study.inconsistencies
        assert "lstm-5" in inconsistency
        assert inconsistency.endswith(remedy)
        assert accuracy_verdicts(study) == {"lstm": None, "tuned": None}


def test_collect_outcomes_reads_storage_and_files(tmp_path: Path) -> None:
    trials = [make_trial("linear", seed) for seed in range(6)]
    metrics = {"test": {"accuracy": 0.5}}
    stored: list[tuple[Trial, TrialState, dict[str, Any]]] = [
        (trials[0], TrialState.COMPLETE, {"metrics": metrics}),  # its files are on another machine
        (trials[1], TrialState.FAIL, {"metrics": {}, UNDEFINED_METRIC: True}),  # finished
        (trials[2], TrialState.FAIL, {"error": "too hot"}),
        (trials[3], TrialState.RUNNING, {}),
        (trials[4], TrialState.WAITING, {}),
        (make_trial("linear", 9), TrialState.COMPLETE, {"metrics": metrics}),  # not in the current grid
    ]  # trials[5] is not in the storage
    entries = {
        trial.id: StorageEntry(trial, state, attributes, key=key)
        for key, (trial, state, attributes) in enumerate(stored)
    }
    run_directory = tmp_path / "trials" / trials[1].id
    run_directory.mkdir(parents=True)
    (run_directory / "result.json").write_text('{"metrics": {"test": {"accuracy": null}}, "steps": 7}')
    study = collect_outcomes(StudySpec(), trials, entries, tmp_path)
    states = ("finished", "finished", "failed", "running", "waiting", "waiting")
    assert tuple(outcome.state for outcome in study.outcomes) == states
    assert study.outcomes[0].result == {"metrics": metrics}
    assert study.outcomes[1].result == {"metrics": {"test": {"accuracy": None}}, "steps": 7}
    assert (study.outcomes[2].error, study.num_finished_outside_grid) == ("too hot", 1)
    values = study.metric_values("accuracy", "test")["linear"]
    assert values[0] == 0.5
    assert math.isnan(values[1])  # null in result.json
    with pytest.raises(ValueError, match=r"linear-0.*'f1'.*accuracy"):
        study.metric_values("f1", "test")


def test_metric_values_refuses_a_split_without_labels() -> None:
    outcome = Outcome(make_trial("linear", 0), Path("nowhere"), "finished", {"metrics": {"validation": {"loss": 1.0}}})
    study = StudyOutcomes(StudySpec(), Path("nowhere"), [outcome])
    assert [study.is_unlabelled(split) for split in ("validation", "test")] == [False, True]
    assert study.metric_values("loss", "validation") == {"linear": {0: 1.0}}
    with pytest.raises(ValueError, match=r"\btest\b.*--split validation"):
        study.metric_values("loss", "test")


def test_baseline_is_the_chosen_arm_or_the_first() -> None:
    outcomes = [Outcome(make_trial(arm, 0), Path("nowhere"), "waiting") for arm in ("lstm", "linear")]
    assert StudyOutcomes(StudySpec(), Path("nowhere"), outcomes).baseline == "lstm"
    assert StudyOutcomes(StudySpec(baseline="linear"), Path("nowhere"), outcomes).baseline == "linear"
