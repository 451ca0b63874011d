"""What the calibration of a model changed: reliability before and after, and the thresholds of the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.records.many_labels import MANY_LABELS
from research.report.mistakes import LabelledPredictions
from research.tasks.base import Task
from research.tasks.calibration import Reliability
from research.tasks.thresholds import DEFAULT_THRESHOLD


@dataclass(frozen=True)
class ThresholdRow:
    """The threshold of one label."""

    name: str
    """Name of the label."""
    threshold: float
    """Probability above which the label is predicted."""
    f1_before: float
    """F1 with the threshold 0.5, before temperature scaling."""
    f1_after: float
    """F1 with the threshold."""
    num_rows: int
    """Number of rows that have the label."""
    fallback: str
    """Why the threshold does not meet the criterion; empty if it does."""


@dataclass(frozen=True)
class ThresholdTable:
    """The thresholds of all labels, and F1 on one split."""

    criterion: str
    """What the thresholds were chosen for."""
    rows: Sequence[ThresholdRow]
    """The labels, in the order of the task."""

    @property
    def is_long(self) -> bool:
        """Whether the table is collapsed."""
        return len(self.rows) >= MANY_LABELS


def group_by_probability(
    task: Task, predictions: LabelledPredictions, calibration: Mapping[str, Any] | None
) -> dict[str, Reliability]:
    """Return the predictions grouped by probability, `before` and `after` if a temperature was learned.

    Args:
        task: the task.
        predictions: predictions of the (calibrated) model on one split.
        calibration: section `calibration` of result.json; None without one.
    Returns:
        Empty if the outputs are not probabilities.
    """
    current = task.reliability(predictions.logits, predictions.labels)
    if current is None:
        return {}
    temperature = calibration["temperature"] if calibration is not None else None
    if temperature is None:
        return {"model": current}
    before = task.reliability(predictions.logits * temperature, predictions.labels)
    assert before is not None
    return {"before": before, f"after, temperature {temperature:.4g}": current}


def build_threshold_table(
    task: Task, predictions: LabelledPredictions, calibration: Mapping[str, Any] | None
) -> ThresholdTable | None:
    """Return the thresholds with each label's F1 before and after; None if no thresholds were learned.

    Args:
        task: the task with the thresholds.
        predictions: predictions of the calibrated model on the validation rows.
        calibration: section `calibration` of result.json; None without one.
    """
    if calibration is None or calibration["thresholds"] is None:
        return None
    uncalibrated = dataclasses.replace(task, thresholds=(DEFAULT_THRESHOLD,) * task.num_labels)
    predicted_before = uncalibrated.predicted_labels(predictions.logits * (calibration["temperature"] or 1.0))
    before = task.count_labels(predictions.labels, predicted_before)
    after = task.count_labels(predictions.labels, predictions.predicted)
    assert before is not None
    assert after is not None
    fallbacks = calibration["thresholds"]["fallbacks"]
    columns = (task.label_names, task.thresholds, before.f1.tolist(), after.f1.tolist(), after.present.tolist())
    rows = [ThresholdRow(*values, fallbacks.get(values[0], "")) for values in zip(*columns, strict=True)]
    return ThresholdTable(calibration["thresholds"]["criterion"], rows)
