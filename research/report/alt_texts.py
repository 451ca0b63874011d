"""Alternative texts of figures: what they show, in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from research.records.step_figures import Curve
from research.report.mistakes import LabelledPredictions
from research.tasks.base import Task
from research.tasks.calibration import Reliability

MAX_DESCRIBED = 12
"""Maximum number of curves or labels that a text describes; further ones are only counted."""


def list_items(items: list[str]) -> str:
    """Return the first MAX_DESCRIBED items as one text, with the number of further items."""
    shown = "; ".join(items[:MAX_DESCRIBED])
    return f"{shown}; and {len(items) - MAX_DESCRIBED} more" if len(items) > MAX_DESCRIBED else shown


def describe_curves(curves: Mapping[str, Curve]) -> str:
    """Return the first, last, lowest and highest value of each curve."""
    return list_items([f"{name}: {_describe_curve(curve)}" for name, curve in curves.items()])


def _describe_curve(curve: Curve) -> str:
    points = [(step, value) for step, value in zip(*curve, strict=True) if math.isfinite(value)]
    if not points:
        return "no finite value"
    values = [value for _, value in points]
    (first_step, first), (last_step, last) = points[0], points[-1]
    return (
        f"{first:.4g} at step {first_step:g}, {last:.4g} at step {last_step:g}, lowest {min(values):.4g}, "
        f"highest {max(values):.4g}"
    )


def describe_predictions(task: Task, predictions: LabelledPredictions) -> str:
    """Return how many rows of each label are predicted correctly or, if labels are numbers, how far predictions are."""
    counts = task.count_labels(predictions.labels, predictions.predicted)
    if counts is None:
        distance = float(np.abs(predictions.predicted - predictions.labels).mean())
        return f"{len(predictions.labels):,} rows, mean distance of the prediction from the score {distance:.4g}"
    rows = zip(task.label_names, counts.recall.tolist(), counts.present.tolist(), strict=True)
    return list_items([f"{name}: {recall:.0%} of {present:,} rows found" for name, recall, present in rows])


def describe_reliability(groups: Mapping[str, Reliability]) -> str:
    """Return the calibration error of each state of a model."""
    return list_items([f"{name}: calibration error {group.calibration_error:.4f}" for name, group in groups.items()])
