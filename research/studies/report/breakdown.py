"""Results of each arm by length of the text and by label."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from research.data.prepare.splits import bin_scores
from research.records.many_labels import MANY_LABELS
from research.report.label_table import MAX_SHOWN
from research.studies.report.notation import column_decimals
from research.studies.report.rows import Array, StudyRows
from research.studies.report.styles import MANY_ARMS
from research.studies.report.texts import StudyTexts

MAX_COLUMNS = 12
"""Maximum number of labels in a long table if there are so many arms that labels are columns."""
MAX_BINS = 5
"""Maximum number of groups of rows by length or score."""


@dataclass(frozen=True)
class Breakdown:
    """Results of the arms in groups of a split's rows: one row per group and one column per arm.

    If there are many arms, groups are columns and arms are rows.
    """

    title: str
    """The property by which the rows are grouped."""
    measure: str
    """Description of the values."""
    groups: Sequence[tuple[str, int]]
    """Name and number of rows of each group."""
    means: Mapping[str, Sequence[float]]
    """By arm: the mean over seeds for each group, NaN if it is not defined."""
    lower_is_better: bool
    """Whether lower values are better, because they are distances."""
    num_groups: int
    """Number of all groups. If there are many labels, only the worst are shown."""

    @property
    def is_long(self) -> bool:
        """Whether there are so many groups that the worst come first, and not all are shown."""
        return self.num_groups >= MANY_LABELS

    @property
    def has_arms_as_rows(self) -> bool:
        """Whether arms are rows, because there are many."""
        return len(self.means) > MANY_ARMS

    @property
    def is_collapsed(self) -> bool:
        """Whether the table is collapsed, because it is long."""
        return self.is_long or self.has_arms_as_rows

    @property
    def decimals(self) -> int:
        """Return the number of decimals of all values."""
        return column_decimals([value for values in self.means.values() for value in values])

    @property
    def title_suffix(self) -> str:
        """Return a suffix of the title that says which groups a long table shows; empty for other tables."""
        if not self.is_long:
            return ""
        return f": the {len(self.groups):,} of {self.num_groups:,} with the lowest mean over all arms"

    @functools.cached_property
    def _range(self) -> tuple[float, float]:
        numbers = [each for values in self.means.values() for each in values if not np.isnan(each)]
        return min(numbers), max(numbers)

    def relative_quality(self, value: float) -> float:
        """Return how good a value is relative to all values of the table, from 0 (worst) to 1 (best)."""
        low, high = self._range
        share = (value - low) / (high - low) if high > low else 0.0
        return 1 - share if self.lower_is_better else share


def break_down_by_length(rows: StudyRows, texts: StudyTexts) -> Breakdown:
    """Return the results of each arm by length of the text.

    Args:
        rows: rows with the predictions of all models.
        texts: texts of the same rows.
    Raises:
        ValueError: if the texts belong to different rows.
    """
    lengths = texts.lengths(rows)
    title = f"length of the text, in tokens of {Path(texts.encoder).name} before truncation"
    return _break_down_by_quantile(rows, title, lengths)


def break_down_by_label(rows: StudyRows) -> Breakdown:
    """Return the results of each arm by label, or by score if labels are numbers."""
    task, labels = rows.task, rows.predictions.labels
    counts = task.count_labels(labels, labels)
    if counts is None:  # labels are numbers
        return _break_down_by_quantile(rows, "score", labels)
    means = {
        arm: np.mean(
            [task.label_quality(labels, rows.predictions.predicted[index]) for index in seeds.values()], axis=0
        )
        for arm, seeds in rows.model_indices.items()
    }
    return _build_labels_table(task.label_quality_title, task.label_names, counts.present, means)


def _build_labels_table(measure: str, names: Sequence[str], counts: Array, means: Mapping[str, Array]) -> Breakdown:
    """Return a table with one row per label, in the order of the task.

    If there are at least MANY_LABELS labels, the worst come first and labels without rows last, and the table has at
    most MAX_SHOWN rows, or MAX_COLUMNS columns if there are many arms.
    """
    order = np.arange(len(names))
    if len(names) >= MANY_LABELS:
        overall = np.mean(list(means.values()), axis=0)
        max_shown = MAX_COLUMNS if len(means) > MANY_ARMS else MAX_SHOWN
        order = np.lexsort((-counts, overall, counts == 0))[:max_shown]  # the last key takes precedence
    groups = [(names[index], int(counts[index])) for index in order.tolist()]
    shown = {arm: arm_means[order].tolist() for arm, arm_means in means.items()}
    return Breakdown("label", measure, groups, shown, lower_is_better=False, num_groups=len(names))


def _break_down_by_quantile(rows: StudyRows, title: str, values: Array) -> Breakdown:
    """Return the results of each arm by quantiles of a value, in groups of about the same size."""
    bins = bin_scores(values.astype(np.float64), MAX_BINS)
    masks = [bins == each for each in np.unique(bins)]  # fewer than MAX_BINS if many values are equal
    groups = [(_describe_range(values[mask]), int(mask.sum())) for mask in masks]
    means = _mean_correctness(rows, masks)
    return Breakdown(title, rows.task.correctness_title, groups, means, rows.task.correctness_is_distance, len(groups))


def _mean_correctness(rows: StudyRows, masks: Sequence[Array]) -> dict[str, list[float]]:
    """Return by arm the mean correctness in each group, averaged over seeds; NaN for a group without rows.

    Args:
        rows: rows with the predictions of all models.
        masks: for each group, which rows belong to it, [num_rows].
    """
    return {
        arm: [
            float(np.mean([correctness[mask].mean() for correctness in seeds.values()])) if mask.any() else float("nan")
            for mask in masks
        ]
        for arm, seeds in rows.correctness_by_arm.items()
    }


def _describe_range(values: Array) -> str:
    low, high = (
        f"{value:,.4g}" if values.dtype.kind == "f" else f"{value:,}" for value in (values.min(), values.max())
    )
    return low if low == high else f"{low} to {high}"
