"""The rows on which the arms of a study differ most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research.studies.report.rows import StudyRows
from research.studies.report.texts import StudyTexts

MAX_SHOWN = 20
"""Maximum number of rows in the report."""


@dataclass(frozen=True)
class ArmOnRow:
    """Result of one arm's models on a row."""

    arm: str
    """Name of the arm."""
    quality: float
    """How good the result is, from 0 to 1: the share of the arm's models that are right. If `Task.correctness` is a
    distance, the result is scaled so that the best arm has 1 and the worst arm 0."""
    description: str
    """The result as text."""


@dataclass(frozen=True)
class Disagreement:
    """A row on which the arms differ."""

    place: str
    """File that contains the row, and the row's number in that file, from 1."""
    label: str
    """True label."""
    arms: Sequence[ArmOnRow]
    """Results of all arms, best first."""
    texts: tuple[str, ...]
    """The text, or both texts of a pair."""

    @property
    def arms_by_result(self) -> dict[tuple[str, float], list[str]]:
        """Return the names of the arms by the text and the quality of their result, the best result first."""
        arms: dict[tuple[str, float], list[str]] = {}
        for each in self.arms:
            arms.setdefault((each.description, each.quality), []).append(each.arm)
        return arms


def find_disagreements(rows: StudyRows, texts: StudyTexts) -> tuple[list[Disagreement], int]:
    """Return the rows on which the arms differ most, and the number of all rows on which they differ.

    An arm's value for a row is the share of the arm's models that are right or, if labels are numbers, their mean
    distance from the label. Rows are ordered by the gap between the best and the worst arm, largest first; rows with
    equal gaps by the standard deviation over arms, largest first.

    Args:
        rows: rows with the predictions of all models.
        texts: texts of the same rows.
    Raises:
        ValueError: if the texts belong to different rows.
    """
    correctness = rows.correctness_by_arm
    arms = list(correctness)
    means = np.array([np.mean(list(seeds.values()), axis=0) for seeds in correctness.values()])
    gaps = np.ptp(means, axis=0)
    # The last key takes precedence. Rounded, because gaps and deviations that are equal may differ by rounding errors.
    order = np.lexsort((rows.predictions.ids, -means.std(axis=0).round(9), -gaps.round(9)))
    differing = order[gaps[order] > 0]
    shown = differing[:MAX_SHOWN]
    disagreements = []
    for row, text in zip(shown, texts.texts(rows, shown), strict=True):
        cells = []
        for index, arm in enumerate(arms):
            mean = float(means[index, row])
            quality = (means[:, row].max() - mean) / gaps[row] if rows.task.correctness_is_distance else mean
            cells.append(ArmOnRow(arm, float(quality), rows.task.describe_correctness(mean, len(correctness[arm]))))
        cells.sort(key=lambda cell: -cell.quality)
        label = rows.task.describe_label(rows.predictions.labels[row])
        place = texts.place(rows, row)
        disagreements.append(Disagreement(place, label, cells, text))
    return disagreements, len(differing)
