"""A task that a plugin registers: one of several ordered levels, such as one to five stars."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.tasks.base import Array, Floats, register_task
from research.tasks.metric import NOT_NEGATIVE, Metric
from research.tasks.single_label import SingleLabel


@register_task("ordinal")
class Ordinal(SingleLabel):
    """One of several ordered levels: the median is predicted, and mistakes are measured by their distance."""

    more_objectives = ("cross_entropy",)  # allowed here, although its own `tasks` has only single_label
    metrics = (Metric("levels_off", NOT_NEGATIVE, lower_is_better=True), *SingleLabel.metrics)
    correctness_is_distance = True
    correctness_title = "mean distance from the level (lower is better)"
    mistakes_title = "Farthest misses"
    mistakes_name = "misses"
    severity_title = "levels"

    def predicted_labels(self, logits: Floats) -> NDArray[np.int64]:
        """Return the median level, [num_rows] int64."""
        return np.asarray((self.probabilities(logits).cumsum(axis=1) < 0.5).sum(axis=1))

    def compute_metrics(self, logits: Floats, labels: Array) -> dict[str, float]:
        levels_off = self.correctness(labels, self.predicted_labels(logits)).mean()
        return {"levels_off": float(levels_off), **super().compute_metrics(logits, labels)}

    def mistake_severity(self, labels: Array, predicted: Array, logits: Floats) -> Array:
        return self.correctness(labels, predicted)

    @classmethod
    def correctness(cls, labels: Array, predicted: Array) -> NDArray[Any]:
        """Return by how many levels each prediction is off."""
        return np.abs(predicted - labels)

    @classmethod
    def describe_correctness(cls, mean: float, num_models: int) -> str:
        return f"off by {mean:.3g} levels"
