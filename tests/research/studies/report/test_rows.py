"""Predictions of several trials are compared row by row, for each arm and seed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research.studies.outcomes import StudyOutcomes
from research.studies.report.rows import read_rows
from research.tasks.base import TASKS
from tests.builders.studies import study_with_predictions, with_changed_outcomes

ORDINAL = Path(__file__).parents[2] / "tasks" / "ordinal.py"
"""Plugin with the task `ordinal`, whose labels are numbered levels."""
ARMS = {"a": [[0, 1, 1], [0, 0, 1]], "b": [[1, 1, 0]]}
"""For each arm, one list of predictions per seed."""
LABELS = [0, 1, 0]
"""True labels of the three rows."""


def rewrite_predictions(study: StudyOutcomes, index: int, **columns: Any) -> None:
    path = study.outcomes[index].directory / "predictions" / "test.parquet"
    table = {**pq.read_table(path).to_pydict(), **columns}
    pq.write_table(pa.table(table), path)


def test_read_rows_returns_correctness_by_arm_and_seed(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, ARMS, LABELS)
    # Outcome 2, of arm b, has the same rows in a different order.
    rewrite_predictions(study, 2, id=[20, 10, 0], label=[0, 1, 0], prediction=[0, 1, 1])
    rows = read_rows(study, "test")
    assert rows.task.name == "single_label"
    assert rows.task.label_names == ("label0", "label1")
    assert rows.predictions.ids.tolist() == [0, 10, 20]
    assert {
        arm: {seed: correct.tolist() for seed, correct in seeds.items()}
        for arm, seeds in rows.correctness_by_arm.items()
    } == {
        "a": {0: [True, True, False], 1: [True, False, False]},
        "b": {0: [False, True, True]},
    }


def test_multi_label_row_is_correct_only_if_all_its_labels_are_correct(tmp_path: Path) -> None:
    rows = read_rows(study_with_predictions(tmp_path, {"a": [[[1, 0], [1, 1]]]}, [[1, 0], [0, 1]]), "test")
    assert rows.task.name == "multi_label"
    assert rows.correctness_by_arm["a"][0].tolist() == [True, False]


def test_correctness_in_regression_is_the_distance(tmp_path: Path) -> None:
    rows = read_rows(study_with_predictions(tmp_path, {"a": [[1.5, 2.0]]}, [1.0, 4.0]), "test")
    assert rows.task.name == "regression"
    assert rows.correctness_by_arm["a"][0].tolist() == [0.5, 2.0]


def test_task_setting_takes_precedence_over_the_guessed_task(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, {"a": [[0, 2, 2]]}, [0, 2, 0])
    trial = study.outcomes[0].trial
    plugin = shutil.copy(ORDINAL, tmp_path / "ordinal.py")  # a copy, since other tests import the original
    settings = {**trial.settings, "task": "ordinal", "plugin": [str(plugin)]}
    with TASKS.isolated():
        changed_study = with_changed_outcomes(study, {0: {"trial": dataclasses.replace(trial, settings=settings)}})
        rows = read_rows(changed_study, "test")
    # The distance between label and prediction. In the task single_label, it would be True, True, False.
    assert rows.correctness_by_arm["a"][0].tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [0, 10, 30]}, "test rows"),
        ({"label": [0, 1, 1]}, "test rows"),
        ({"score_other": [0.5, 0.5, 0.5]}, "different labels"),  # probabilities of an additional label
    ],
)
def test_different_rows_or_labels_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    study = study_with_predictions(tmp_path, ARMS, LABELS)
    rewrite_predictions(study, 1, **columns)
    with pytest.raises(ValueError, match=message):
        read_rows(study, "test")


@pytest.mark.parametrize(
    ("setting", "value"), [("data", "other"), ("label_column", "other"), ("quoting", "none"), ("columns", ["other"])]
)
def test_rows_from_different_data_are_refused(tmp_path: Path, setting: str, value: Any) -> None:
    study = study_with_predictions(tmp_path, ARMS, LABELS)
    trial = study.outcomes[2].trial
    changed_trial = dataclasses.replace(trial, settings={**trial.settings, setting: value})
    with pytest.raises(ValueError, match=rf"\({setting}: "):
        read_rows(with_changed_outcomes(study, {2: {"trial": changed_trial}}), "test")


def test_trials_with_unreadable_predictions_are_skipped_and_named(tmp_path: Path) -> None:
    study = study_with_predictions(tmp_path, ARMS, LABELS)
    paths = [outcome.directory / "predictions" / "test.parquet" for outcome in study.outcomes]
    paths[0].unlink()
    paths[1].write_bytes(b"PAR1 and no more")
    rows = read_rows(study, "test")
    assert rows.model_indices == {"b": {0: 0}}  # seed 0 of arm b is the only model
    assert rows.skipped_trials[0] == "a-0: not on this machine"
    assert rows.skipped_trials[1].startswith("a-1: cannot be read (")
    paths[2].unlink()
    with pytest.raises(ValueError, match=r"\btest\b"):
        read_rows(study, "test")
