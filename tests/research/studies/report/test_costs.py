"""Time and trainable parameters of arms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from research.studies.grid import StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.costs import ArmCost, find_costs
from tests.builders.studies import trial_of


def cost(tmp_path: Path, edits: list[tuple[int, int, int]] | None, results: list[dict[str, Any]]) -> ArmCost:
    """Return the cost of an arm whose trials have journals of (step, trainable before, trainable after)."""
    outcomes = []
    for seed, result in enumerate(results):
        directory = tmp_path / str(seed)
        directory.mkdir()
        if edits is not None:
            lines = []
            for number, (step, before, after) in enumerate(edits, start=1):
                record = {"number": number, "step": step, "epoch": 0.0, "name": "freeze", "arguments": {}}
                record |= {"asked_by": "Python", "trainable_parameters": [before, after], "parameters": [0, 0]}
                lines.append(json.dumps(record) + "\n")
            (directory / "journal.jsonl").write_text("".join(lines))
        outcomes.append(Outcome(trial_of("a", seed), directory, "finished", {"metrics": {}, **result}))
    (found,) = find_costs(StudyOutcomes(StudySpec(name="costs"), tmp_path, outcomes))
    return found


def test_time_is_averaged_over_seeds_and_cached_trials_are_counted(tmp_path: Path) -> None:
    known = {"steps": 10, "trainable_parameters": 7}
    results = [{**known, "train_seconds": 2.0}, {**known, "train_seconds": 4.0, "cached_features": True}, {}]
    found = cost(tmp_path, [], results)
    assert (found.seconds, found.num_cached, len(found.trials)) == (3.0, 1, 2)
    assert (found.trainable_parameters, found.mean_trainable_parameters, found.changes_midway) == (7, 7, False)


def test_trainable_parameters_are_weighted_by_steps(tmp_path: Path) -> None:
    result = {"steps": 10, "train_seconds": 1.0, "trainable_parameters": 50}
    # Frozen before the first step and unfrozen after the fourth; the edit after the last step has no effect.
    found = cost(tmp_path, [(0, 100, 20), (4, 20, 70), (10, 70, 50)], [result])
    assert found.mean_trainable_parameters == (4 * 20 + 6 * 70) / 10
    assert found.changes_midway


def test_edit_before_the_first_step_is_not_a_change_midway(tmp_path: Path) -> None:
    result = {"steps": 10, "train_seconds": 1.0, "trainable_parameters": 20}
    assert not cost(tmp_path, [(0, 100, 20)], [result, result, result]).changes_midway


def test_missing_journal_falls_back_to_the_final_number(tmp_path: Path) -> None:
    result = {"steps": 10, "train_seconds": 1.0, "trainable_parameters": 20}
    assert cost(tmp_path, None, [result]).mean_trainable_parameters == 20
