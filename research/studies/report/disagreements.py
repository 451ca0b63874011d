"""The rows on which the arms of a study differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research.report.mistakes import in_words
from research.studies.report.rows import StudyRows
from research.studies.report.texts import StudyTexts
from research.tasks.task import Task

NUM_SHOWN = 20


@dataclass(frozen=True)
class ArmOnRow:
    """What the models of one arm make of a row."""

    arm: str
    """Which one."""
    rightness: float
    """Share of its models that are right, from 0 to 1; for regression, 0 for the worst arm and 1 for the best."""
    words: str
    """The same for a reader."""


@dataclass(frozen=True)
class Disagreement:
    """A row that some arms get right and others wrong."""

    place: str
    """Its file, and its row in that file, from 1."""
    label: str
    """What it is."""
    arms: Sequence[ArmOnRow]
    """All arms, the rightest first."""
    texts: tuple[str, ...]
    """The text, or both of a pair."""


def find_disagreements(rows: StudyRows, texts: StudyTexts) -> tuple[list[Disagreement], int]:
    """Return the rows on which the arms differ most, and on how many rows they differ at all.

    Most: the largest gap between the best arm and the worst, in the share of an arm's models that are right (in the
    mean distance, for regression); of equal gaps, the one with the more arms on either side.

    Args:
        rows: what was predicted.
        texts: the rows' texts.
    Raises:
        ValueError: if the texts are of other rows.
    """
    by_arm = rows.scores
    arms = list(by_arm)
    means = np.array([np.mean(list(seeds.values()), axis=0) for seeds in by_arm.values()])
    gaps = np.ptp(means, axis=0)
    order = np.lexsort((rows.predictions.ids, -means.std(axis=0).round(9), -gaps.round(9)))
    differing = order[gaps[order] > 0]
    shown = differing[:NUM_SHOWN]
    task = Task(rows.problem_type, rows.label_names)
    is_regression = rows.problem_type == "regression"
    found = []
    for row, text in zip(shown, texts.texts(rows, shown), strict=True):
        cells = []
        for index, arm in enumerate(arms):
            mean, number = float(means[index, row]), len(by_arm[arm])
            if is_regression:
                rightness, words = (means[:, row].max() - mean) / gaps[row], f"off by {mean:.3g}"
            else:
                rightness, words = mean, f"{round(mean * number)} of {number} right"
            cells.append(ArmOnRow(arm, float(rightness), words))
        cells.sort(key=lambda cell: -cell.rightness)
        label = in_words(task, rows.predictions.labels[row])
        place = texts.place(rows, row)
        found.append(Disagreement(place, label, cells, text))
    return found, len(differing)
