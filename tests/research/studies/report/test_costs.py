"""Arms have a mean time and a mean number of trainable parameters."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.checklist import write_checklist
from research.studies.report.contents import collect_contents
from research.studies.report.costs import ArmCost, find_costs, total_device_hours
from tests.builders.studies import make_trial


def write_trials_and_find_cost(
    tmp_path: Path, edits: list[tuple[int, int, int]] | None, results: list[dict[str, Any]]
) -> ArmCost:
    """Write the files of an arm's trials, and return the cost of the arm.

    Args:
        tmp_path: directory for the files.
        edits: edits in the journal of every trial, each as (step, trainable parameters before, trainable parameters
            after); None if the trials have no journal.
        results: content of each trial's result.json, without metrics.
    """
    outcomes = []
    for seed, result in enumerate(results):
        directory = tmp_path / str(seed)
        directory.mkdir()
        if edits is not None:
            lines = []
            for number, (step, before, after) in enumerate(edits, start=1):
                record = {"number": number, "step": step, "epoch": 0.0, "name": "freeze", "arguments": {}}
                record |= {"requested_by": "Python", "trainable_parameters": [before, after], "parameters": [0, 0]}
                lines.append(json.dumps(record) + "\n")
            (directory / "journal.jsonl").write_text("".join(lines))
        outcomes.append(Outcome(make_trial("a", seed), directory, "finished", {"metrics": {}, **result}))
    (arm_cost,) = find_costs(StudyOutcomes(StudySpec(name="costs"), tmp_path, outcomes))
    return arm_cost


def test_time_is_averaged_over_seeds_and_cached_trials_are_counted(tmp_path: Path) -> None:
    common = {"steps": 10, "trainable_parameters": 7}
    without_result_file: dict[str, Any] = {}
    results = [
        {**common, "train_seconds": 2.0},
        {**common, "train_seconds": 4.0, "cached_features": True},
        without_result_file,
    ]
    arm_cost = write_trials_and_find_cost(tmp_path, [], results)
    assert (arm_cost.seconds, arm_cost.num_cached, len(arm_cost.trials)) == (3.0, 1, 2)
    assert (arm_cost.trainable_parameters, arm_cost.mean_trainable_parameters, arm_cost.changes_midway) == (7, 7, False)


def test_trainable_parameters_are_weighted_by_steps(tmp_path: Path) -> None:
    result = {"steps": 10, "train_seconds": 1.0, "trainable_parameters": 50}
    # Frozen before the first step and unfrozen after the fourth; the edit after the last step has no effect.
    arm_cost = write_trials_and_find_cost(tmp_path, [(0, 100, 20), (4, 20, 70), (10, 70, 50)], [result])
    assert arm_cost.mean_trainable_parameters == (4 * 20 + 6 * 70) / 10
    assert arm_cost.changes_midway


def test_edit_before_the_first_step_is_not_a_change_midway(tmp_path: Path) -> None:
    result = {"steps": 10, "train_seconds": 1.0, "trainable_parameters": 20}
    assert not write_trials_and_find_cost(tmp_path, [(0, 100, 20)], [result, result, result]).changes_midway


def test_mean_falls_back_to_the_final_number_without_a_journal(tmp_path: Path) -> None:
    result = {"steps": 10, "train_seconds": 1.0, "trainable_parameters": 20}
    assert write_trials_and_find_cost(tmp_path, None, [result]).mean_trainable_parameters == 20


def test_parameters_and_device_hours_are_means_or_unknown(tmp_path: Path) -> None:
    result = {"steps": 10, "train_seconds": 1.0, "trainable_parameters": 20, "total_parameters": 100}
    results = [{**result, "device_hours": 0.5}, {**result, "device_hours": 1.5}]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    arm_cost = write_trials_and_find_cost(tmp_path / "a", None, results)
    assert (arm_cost.total_parameters, arm_cost.device_hours) == (100, 1.0)
    arm_cost = write_trials_and_find_cost(tmp_path / "b", None, [results[0], result])
    assert (arm_cost.total_parameters, arm_cost.device_hours) == (100, None)


def test_total_device_hours_include_each_common_past_once(tmp_path: Path) -> None:
    for name, hours in (("past-0", 4.0), ("past-1", 8.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps({"status": "paused", "device_hours": hours}))
    outcomes = []
    common = {"metrics": {"test": {"accuracy": 0.5}}, "steps": 10, "train_seconds": 1.0, "trainable_parameters": 7}
    for arm, seed, hours in (("a", 0, 0.25), ("b", 0, 0.5), ("a", 1, 1.0)):
        trial = dataclasses.replace(make_trial(arm, seed), parent_id=f"past-{seed}")
        outcomes.append(Outcome(trial, tmp_path / trial.id, "finished", {**common, "device_hours": hours}))
    study = StudyOutcomes(StudySpec(name="costs"), tmp_path, outcomes)
    assert total_device_hours(study) == 13.75
    assert "13.8 device hours for 3 finished trials and 2 common pasts" in write_checklist(collect_contents(study))
    (tmp_path / "past-1" / "result.json").unlink()
    assert total_device_hours(study) is None
