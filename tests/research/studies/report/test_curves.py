"""The curves and edits of an arm's seeds are combined."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from research.studies.grid import COMMON_PAST, StudySpec
from research.studies.outcomes import Outcome, StudyOutcomes
from research.studies.report.curves import MAX_POINTS, read_arm_curves, read_arm_edits
from tests.builders.studies import make_trial


def study_with_logs(directory: Path, logs: dict[str, list[list[dict[str, Any]]]]) -> StudyOutcomes:
    """Return a study whose trials logged the given lines, by arm and seed."""
    outcomes = []
    for arm, seeds in logs.items():
        for seed, lines in enumerate(seeds):
            trial = make_trial(arm, seed)
            (directory / trial.id).mkdir()
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (directory / trial.id / "metrics.jsonl").write_text(text)
            outcomes.append(Outcome(trial, directory / trial.id, "finished", {"metrics": {}}))
    return StudyOutcomes(StudySpec(name="curves"), directory, outcomes)


def log_lines(steps: list[int], losses: list[float | None]) -> list[dict[str, Any]]:
    return [{"step": step, "loss": loss} for step, loss in zip(steps, losses, strict=True)]


def test_mean_is_over_the_steps_of_the_shortest_curve_between_whose_steps_others_are_interpolated(
    tmp_path: Path,
) -> None:
    # In arm a, the second seed stopped early and logged a step that the first did not log. Arm b logged nothing.
    study = study_with_logs(
        tmp_path, {"a": [log_lines([1, 2, 4], [3.0, 2.0, 1.0]), log_lines([1, 2, 3], [1.0, 1.0, 9.0])], "b": [[]]}
    )
    (curves,) = read_arm_curves(study, "loss", study.arms, smooth=False)
    assert (curves.arm, curves.mean) == ("a", ([1, 2, 3], [2.0, 1.5, 5.25]))
    assert curves.seed_curves == [([1, 2, 4], [3.0, 2.0, 1.0]), ([1, 2, 3], [1.0, 1.0, 9.0])]


def test_common_past_of_arms_is_one_curve_and_their_curves_start_at_its_end(tmp_path: Path) -> None:
    study = study_with_logs(
        tmp_path,
        {
            "a": [log_lines([1, 2, 3], [3.0, 2.0, 1.0]), log_lines([1, 2, 3], [5.0, 4.0, 3.0])],
            "b": [log_lines([1, 2, 3], [3.0, 2.0, 9.0]), log_lines([1, 2, 3], [5.0, 4.0, 7.0])],
        },
    )
    outcomes = [
        dataclasses.replace(
            outcome,
            trial=dataclasses.replace(outcome.trial, parent_id=f"past-{outcome.trial.seed}"),
            result={"metrics": {}, "parent": {"run": "past", "step": 2}},
        )
        for outcome in study.outcomes
    ]
    study = dataclasses.replace(study, outcomes=outcomes)
    past, first, second = read_arm_curves(study, "loss", study.arms, smooth=False)
    assert (past.arm, past.mean) == (COMMON_PAST, ([1, 2], [4.0, 3.0]))
    assert past.seed_curves == [([1, 2], [3.0, 2.0]), ([1, 2], [5.0, 4.0])]
    assert (first.arm, first.mean) == ("a", ([2, 3], [3.0, 2.0]))
    assert (second.arm, second.mean) == ("b", ([2, 3], [3.0, 8.0]))


def test_smooth_mean_averages_neighbouring_steps(tmp_path: Path) -> None:
    steps = list(range(1, 51))
    study = study_with_logs(tmp_path, {"a": [log_lines(steps, [float(step % 2) for step in steps])]})
    (curves,) = read_arm_curves(study, "loss", study.arms, smooth=True)
    # With 50 steps, each mean covers a step and the step before it, which the first step does not have.
    assert curves.mean[1][1:] == [0.5] * 49
    assert set(curves.seed_curves[0][1]) == {0.0, 1.0}  # the curves of the seeds are not smoothed


def test_curves_of_an_arm_have_at_most_max_points_in_total(tmp_path: Path) -> None:
    steps = list(range(1, 3001))
    study = study_with_logs(tmp_path, {"a": [log_lines(steps, [1.0] * 3000)] * 9})
    (curves,) = read_arm_curves(study, "loss", study.arms, smooth=True)
    assert sum(len(curve[0]) for curve in [curves.mean, *curves.seed_curves]) <= MAX_POINTS


def test_equal_edits_are_merged_over_arms_and_seeds(tmp_path: Path) -> None:
    study = study_with_logs(tmp_path, {"a": [[], []], "b": [[]]})
    for outcome in study.outcomes:
        # A conditional edit may be applied at a different step in each trial.
        steps = [0] if outcome.trial.arm == "b" else [5 + outcome.trial.seed, 0]
        lines = []
        for number, step in enumerate(sorted(steps), start=1):
            record = {"number": number, "step": step, "epoch": 0.0, "name": "freeze", "arguments": {"modules": "head"}}
            record |= {"requested_by": "Python", "trainable_parameters": [2, 1], "parameters": [2, 2]}
            lines.append(json.dumps(record) + "\n")
        (outcome.directory / "journal.jsonl").write_text("".join(lines))
    edits = [(edit.number, edit.step, edit.request, edit.arms) for edit in read_arm_edits(study)]
    assert edits == [
        (1, 0, "freeze(modules='head')", [("a", 2), ("b", 1)]),
        (2, 5, "freeze(modules='head')", [("a", 1)]),
        (3, 6, "freeze(modules='head')", [("a", 1)]),
    ]
