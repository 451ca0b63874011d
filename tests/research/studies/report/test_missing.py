"""Trials without a result are listed, and so are trials whose files are not on this machine."""

from __future__ import annotations

from pathlib import Path

from research.settings.run_files import CONFIG, JOURNAL, METRICS_LOG, RESULT
from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.missing import find_missing
from research.studies.storage.trials import Status
from tests.builders.studies import make_trial

FILES = [RESULT, CONFIG, METRICS_LOG, JOURNAL, "predictions/validation.parquet", "predictions/test.parquet"]


def study_with_states(directory: Path, *states: Status) -> StudyOutcomes:
    """Return a study with one trial in each state; finished trials have all of their files."""
    outcomes = [Outcome(make_trial("a", seed), directory / str(seed), state) for seed, state in enumerate(states)]
    for outcome in outcomes:
        if outcome.state == "finished":
            (outcome.directory / "predictions").mkdir(parents=True)
            for name in FILES:
                (outcome.directory / name).touch()
    return StudyOutcomes(StudySpec(), directory, outcomes)


def test_unfinished_trials_are_listed_by_state(tmp_path: Path) -> None:
    study = study_with_states(tmp_path, "failed", "waiting", "running", "finished", "waiting")
    missing = find_missing(study)
    seeds = [[outcome.trial.seed for outcome in part] for part in (missing.failed, missing.running, missing.waiting)]
    assert (seeds, missing.with_missing_files, missing.is_empty) == ([[0], [2], [1, 4]], [], False)


def test_missing_files_are_listed(tmp_path: Path) -> None:
    study = study_with_states(tmp_path, "finished", "finished")
    assert find_missing(study).is_empty
    first = study.outcomes[0]
    for name in (JOURNAL, "predictions/test.parquet"):
        (first.directory / name).unlink()
    missing = find_missing(study)
    assert (missing.with_missing_files, missing.is_empty) == ([(first, [JOURNAL, "predictions/test.parquet"])], False)


def test_trial_without_a_directory_has_one_entry_for_all_files(tmp_path: Path) -> None:
    outcome = Outcome(make_trial("a", 0), tmp_path / "on_another_machine", "finished")
    ((outcome_without_files, files),) = find_missing(StudyOutcomes(StudySpec(), tmp_path, [outcome])).with_missing_files
    assert outcome_without_files == outcome
    assert files == ["all files"]
