"""Calibrate a trained model: learn a temperature and thresholds from the predictions of the validation rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from research.learning.predictions import Predictions
from research.tasks.base import Array, Floats, Task
from research.tasks.temperature import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE
from research.tasks.thresholds import Criterion, Thresholds

CALIBRATION_ERROR = "calibration_error"
MAX_DESCRIBED = 10
"""Maximum number of labels in a message."""


@dataclass(frozen=True)
class CalibrationRequest:
    """What to learn."""

    temperature: bool
    """Whether to learn a temperature."""
    criterion: Criterion | None
    """What thresholds are chosen for; None to leave all thresholds at 0.5."""

    @classmethod
    def of(cls, *, temperature: bool, thresholds: str | None) -> CalibrationRequest | None:
        """Return the request of these settings; None if they request nothing.

        Raises:
            ValueError: if `thresholds` is not a criterion.
        """
        criterion = None if thresholds is None else Criterion.parse(thresholds)
        return cls(temperature, criterion) if temperature or criterion else None

    def check(self, task: Task | type[Task], temperature_setting: str) -> None:
        """Check that the task has what is requested.

        Args:
            task: the task.
            temperature_setting: name of the setting that requests the temperature.
        Raises:
            ValueError: if it does not.
        """
        if self.temperature and not task.has_temperature:
            raise ValueError(
                f"--{temperature_setting} needs a task whose labels have probabilities; {task.name} predicts numbers. "
                f"Omit --{temperature_setting}."
            )
        if self.criterion is not None and not task.has_thresholds:
            raise ValueError(
                f"--thresholds needs labels that are predicted independently, as in multi_label tasks; this task is "
                f"{task.name}. Omit --thresholds."
            )


@dataclass(frozen=True)
class Calibration:
    """A learned temperature and learned thresholds."""

    request: CalibrationRequest
    """What was learned."""
    temperature: float
    """Number by which the logits are divided; 1 if no temperature was requested."""
    thresholds: Thresholds | None
    """Thresholds for the probabilities after temperature scaling; None if none were requested."""
    label_names: tuple[str, ...]
    """Names of the labels, in the order of the thresholds."""

    @classmethod
    def learn(cls, request: CalibrationRequest, task: Task, logits: Floats, labels: Array) -> Calibration:
        """Learn from the uncalibrated logits of the validation rows.

        Args:
            request: what to learn.
            task: the task.
            logits: finite logits, [num_rows, num_labels].
            labels: labels of the rows, as `Task.label_array` returns them.
        """
        temperature = task.fit_temperature(logits, labels) if request.temperature else 1.0
        thresholds = None
        if request.criterion is not None:
            thresholds = task.fit_thresholds(divide(logits, temperature), labels, request.criterion)
        return cls(request, temperature, thresholds, task.label_names)

    @property
    def warnings(self) -> list[str]:
        """Messages about everything that could not be learned as requested."""
        messages = []
        if self.temperature in (LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE):
            messages.append(
                f"The temperature is at the end of its range ({self.temperature:g}); the validation rows do not "
                "determine it, for example because all of their predictions are right."
            )
        if self.thresholds is not None and self.thresholds.fallbacks:
            fallbacks = [f"{name!r} ({reason})" for name, reason in self.thresholds.fallbacks.items()]
            more = f", and {len(fallbacks) - MAX_DESCRIBED:,} more" if len(fallbacks) > MAX_DESCRIBED else ""
            messages.append(
                f"{len(fallbacks):,} of {len(self.label_names):,} labels do not meet {self.request.criterion} on the "
                f"validation rows (all are listed in result.json): {', '.join(fallbacks[:MAX_DESCRIBED])}{more}."
            )
        return messages

    def apply_to_task(self, task: Task) -> Task:
        """Return the task with the thresholds."""
        return dataclasses.replace(task, thresholds=() if self.thresholds is None else self.thresholds.values)

    def apply(self, task: Task, predictions: Predictions) -> Predictions:
        """Return the predictions of the calibrated model.

        The metrics are computed again, except for the loss: it remains the loss of the uncalibrated logits, which were
        trained.

        Args:
            task: the task with the thresholds (`apply_to_task`).
            predictions: predictions of the uncalibrated model.
        """
        logits = divide(predictions.logits, self.temperature)
        metrics = predictions.metrics
        if predictions.labels is not None:
            metrics = metrics | _metrics(task, logits, predictions.labels)
        return dataclasses.replace(predictions, logits=logits, metrics=metrics)

    def to_result(self) -> dict[str, Any]:
        """Return the temperature and the thresholds for result.json."""
        thresholds = None
        if self.thresholds is not None:
            thresholds = {
                "criterion": str(self.request.criterion),
                "values": dict(zip(self.label_names, self.thresholds.values, strict=True)),
                "fallbacks": dict(self.thresholds.fallbacks),
            }
        return {"temperature": self.temperature if self.request.temperature else None, "thresholds": thresholds}


@dataclass(frozen=True)
class CalibratedPredictions:
    """Predictions of a calibrated model."""

    task: Task
    """The task with the thresholds."""
    predictions: dict[str, Predictions]
    """Predictions of each split."""
    metrics: dict[str, dict[str, dict[str, float]]]
    """For each split with labels, `before` and `after`: the metrics that the calibration changes in any split."""


def calibrate_predictions(
    calibration: Calibration, task: Task, predictions: Mapping[str, Predictions]
) -> CalibratedPredictions:
    """Return the predictions of the calibrated model.

    Args:
        calibration: the temperature and the thresholds.
        task: the task without thresholds.
        predictions: predictions of the uncalibrated model for each split.
    """
    calibrated_task = calibration.apply_to_task(task)
    calibrated = {split: calibration.apply(calibrated_task, each) for split, each in predictions.items()}
    labelled = [split for split, each in predictions.items() if each.labels is not None]
    pairs = {
        split: (_comparable_metrics(task, predictions[split]), _comparable_metrics(calibrated_task, calibrated[split]))
        for split in labelled
    }
    changed = {name for before, after in pairs.values() for name in before if _differ(before[name], after[name])}
    metrics = {
        split: {
            "before": {name: value for name, value in before.items() if name in changed},
            "after": {name: value for name, value in after.items() if name in changed},
        }
        for split, (before, after) in pairs.items()
    }
    return CalibratedPredictions(calibrated_task, calibrated, metrics)


def divide(logits: Floats, temperature: float) -> Floats:
    """Return logits divided by a temperature, in the same precision."""
    return np.asarray(logits / temperature, dtype=logits.dtype)


def _comparable_metrics(task: Task, predictions: Predictions) -> dict[str, float]:
    """Return the metrics of a split, with the calibration error even if it is not a metric of the task.

    Metrics of single labels and the loss are omitted. If a row may have several labels, the calibration error groups
    all pairs of a row and a label by the probability of the label.
    """
    metrics = {name: value for name, value in predictions.metrics.items() if "/" not in name and name != "loss"}
    assert predictions.labels is not None
    reliability = task.reliability(predictions.logits, predictions.labels)
    if CALIBRATION_ERROR not in metrics and reliability is not None:
        metrics[CALIBRATION_ERROR] = reliability.calibration_error
    return metrics


def _metrics(task: Task, logits: Floats, labels: Array) -> dict[str, float]:
    from research.learning.metrics import compute_metrics  # imports the metric libraries

    return compute_metrics(task, logits, labels)


def _differ(old: float, new: float) -> bool:
    """Return whether two values of a metric differ; NaN equals itself."""
    return old != new and not (math.isnan(old) and math.isnan(new))
