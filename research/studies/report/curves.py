"""Learning curves of arms: a curve for each seed, and their mean."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from research.records.journal_file import read_journal
from research.records.step_figures import Curve, running_mean, thin_out
from research.report.curves import read_curves
from research.settings.run_files import JOURNAL
from research.studies.grid import COMMON_PAST
from research.studies.outcomes import Outcome, StudyOutcomes

MAX_POINTS = 8000
"""Maximum number of points over all curves of a figure; each point takes about 20 bytes of the page."""


@dataclass(frozen=True)
class ArmCurves:
    """Curves of one value over the steps of an arm's finished trials."""

    arm: str
    """Name of the arm."""
    seed_curves: Sequence[Curve]
    """Curve of each seed."""
    mean: Curve
    """Mean over the curves, at the steps of the shortest one, as far as all curves reach.

    Between the steps of a curve, its values are interpolated linearly: folds can have different numbers of training
    rows, so that their evaluations are at different steps.
    """


@dataclass(frozen=True)
class ArmEdit:
    """An edit, with the arms whose trials applied it after the same step."""

    number: int
    """Number of the edit, from 1, in the order of steps."""
    step: int
    """Number of steps before the edit."""
    request: str
    """The requested edit as text."""
    arms: Sequence[tuple[str, int]]
    """Arms that applied the edit, each with the number of seeds whose trials applied it."""


def read_arm_curves(study: StudyOutcomes, name: str, arms: Collection[str], *, smooth: bool) -> list[ArmCurves]:
    """Return the curves of one value for the given arms that logged it, in the order of the grid.

    If the arms fork a common past, the curves of this past come first, only once, and those of the arms start at its
    end.

    Args:
        study: outcomes of the study.
        name: name of the value in metrics.jsonl.
        arms: names of the arms.
        smooth: whether the mean curve is also averaged over neighbouring steps.
    """
    curves_by_arm: dict[str, list[Curve]] = {COMMON_PAST: [], **{arm: [] for arm in study.arms if arm in arms}}
    pasts: dict[str, Curve] = {}  # by the trial that was forked
    for outcome in (outcome for outcome in study.finished if outcome.trial.arm in arms):
        curve = read_curves(outcome.directory).get(name)
        fork_step = _fork_step(outcome)
        if curve is not None and fork_step is not None:
            pasts.setdefault(str(outcome.trial.parent_id), _between(curve, 0, fork_step))
            curve = _between(curve, fork_step, math.inf)  # with the last step of the past, where both curves meet
        if curve is not None and curve[0]:
            curves_by_arm[outcome.trial.arm].append(curve)
    curves_by_arm[COMMON_PAST] = [past for past in pasts.values() if past[0]]
    # One more curve per arm for the mean. However many curves there are, each may have 20 points, to keep its shape.
    num_curves = sum(len(curves) + 1 for curves in curves_by_arm.values())
    max_points = max(20, MAX_POINTS // max(1, num_curves))
    arm_curves = []
    for arm, curves in curves_by_arm.items():
        if curves:
            mean = _mean(curves)
            mean = thin_out(running_mean(mean) if smooth else mean, max_points)
            arm_curves.append(ArmCurves(arm, [thin_out(curve, max_points) for curve in curves], mean))
    return arm_curves


def read_arm_edits(study: StudyOutcomes) -> list[ArmEdit]:
    """Return the edits of all finished trials whose journals are on this machine."""
    arms_by_edit: dict[tuple[int, str], dict[str, int]] = {}  # (step, request) -> arm -> number of seeds
    for outcome in study.finished:
        if (outcome.directory / JOURNAL).exists():
            # Equal edits of one trial after the same step count once.
            for edit in dict.fromkeys((record.step, str(record.request)) for record in read_journal(outcome.directory)):
                num_seeds = arms_by_edit.setdefault(edit, {})
                num_seeds[outcome.trial.arm] = num_seeds.get(outcome.trial.arm, 0) + 1
    edits = sorted(arms_by_edit, key=lambda edit: edit[0])
    return [
        ArmEdit(number, step, request, list(arms_by_edit[step, request].items()))
        for number, (step, request) in enumerate(edits, start=1)
    ]


def _fork_step(outcome: Outcome) -> int | None:
    """Return the number of steps of the common past that a trial continues; None if it continues none."""
    parent = (outcome.result or {}).get("parent")
    return None if outcome.trial.parent_id is None or parent is None else int(parent["step"])


def _between(curve: Curve, first: float, last: float) -> Curve:
    """Return the part of a curve from one step to another; both are included."""
    points = [(step, value) for step, value in zip(*curve, strict=True) if first <= step <= last]
    return [step for step, _ in points], [value for _, value in points]


def _mean(curves: Sequence[Curve]) -> Curve:
    shortest = min(curves, key=lambda curve: curve[0][-1])
    steps = [step for step in shortest[0] if step >= max(curve[0][0] for curve in curves)]
    values = [np.interp(steps, *curve) for curve in curves]
    return steps, [statistics.fmean(each) for each in zip(*values, strict=True)]
