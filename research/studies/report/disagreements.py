"""The rows on which the arms of a study differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research.studies.report.rows import StudyRows
from research.studies.report.texts import StudyTexts

NUM_SHOWN = 20


@dataclass(frozen=True)
class ArmOnRow:
    """What the models of one arm make of a row."""

    arm: str
    """Which one."""
    correctness: float
    """Share of its models that are right, from 0 to 1; of distances, 0 for the worst arm and 1 for the best."""
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
    mean distance, if labels are numbers); of equal gaps, the one with the more arms on either side.

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
    found = []
    for row, text in zip(shown, texts.texts(rows, shown), strict=True):
        cells = []
        for index, arm in enumerate(arms):
            mean = float(means[index, row])
            correctness = (means[:, row].max() - mean) / gaps[row] if rows.task.correctness_is_distance else mean
            cells.append(ArmOnRow(arm, float(correctness), rows.task.describe_correctness(mean, len(by_arm[arm]))))
        cells.sort(key=lambda cell: -cell.correctness)
        label = rows.task.describe_label(rows.predictions.labels[row])
        place = texts.place(rows, row)
        found.append(Disagreement(place, label, cells, text))
    return found, len(differing)
