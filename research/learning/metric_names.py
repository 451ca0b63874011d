"""Names of the metrics, which way each is better, and its bounds. Nothing is computed here."""

from __future__ import annotations

import math
import typing

from heads.registry import UnknownNameError, describe_unknown
from research.tasks.task import ProblemType, Task

LOWER_IS_BETTER = ("loss", "log_loss", "calibration_error", "mse")
SHARES = ("accuracy", "subset_accuracy", "f1_macro", "f1_micro", "auroc", "calibration_error")
"""Metrics from 0 to 1."""
CORRELATIONS = ("mcc", "pearson", "spearman")
"""Metrics from -1 to 1."""
NOT_NEGATIVE = ("log_loss", "mse")
OF_ONE_LABEL = "f1/"
"""Beginning of the names of metrics that multi_label tasks have for each label; the label's name follows."""
_NAMES: dict[ProblemType, tuple[str, ...]] = {
    "single_label": ("accuracy", "f1_macro", "f1_micro", "mcc", "auroc", "log_loss", "calibration_error"),
    "multi_label": ("subset_accuracy", "f1_macro", "f1_micro", "auroc", "log_loss"),
    "regression": ("pearson", "spearman", "mse"),
}


def metric_names(task: Task) -> list[str]:
    """Return the names of a task's metrics, without the loss."""
    of_labels = [f"{OF_ONE_LABEL}{name}" for name in task.label_names] if task.problem_type == "multi_label" else []
    return [*_NAMES[task.problem_type], *of_labels]


def check_metric(name: str, task: Task) -> None:
    """Refuse a metric that a task does not have.

    Raises:
        UnknownNameError: naming the nearest metric and all of them.
    """
    _refuse_others(name, [*metric_names(task), "loss"])


def check_metric_name(name: str, problem_type: ProblemType | None = None) -> None:
    """Refuse a metric that no data have, before the labels are known.

    Args:
        name: of the metric.
        problem_type: kind of labels, if it is known.
    Raises:
        UnknownNameError: naming the nearest metric and all of them.
    """
    kinds = typing.get_args(ProblemType) if problem_type is None else (problem_type,)
    if not (name.startswith(OF_ONE_LABEL) and "multi_label" in kinds):
        _refuse_others(name, [*dict.fromkeys(each for kind in kinds for each in _NAMES[kind]), "loss"])


def _refuse_others(name: str, names: list[str]) -> None:
    if name not in names:
        raise UnknownNameError(describe_unknown("metric", name, names, listed_as="Metrics"))


def higher_is_better(metric: str) -> bool:
    """Return whether more of a metric is better; metrics of a user's own are taken for such."""
    return metric not in LOWER_IS_BETTER


def is_better(metric: str, value: float, best: float | None) -> bool:
    """Return whether a metric's value is better than the best so far; one that is not defined (NaN) never is."""
    if best is None:
        return not math.isnan(value)
    return value > best if higher_is_better(metric) else value < best


def metric_bounds(metric: str) -> tuple[float, float]:
    """Return the least and the largest value of a metric; infinite for those of a user's own, and for the loss.

    An objective of a user's own may be negative.
    """
    if metric in SHARES or metric.startswith(OF_ONE_LABEL):
        return 0.0, 1.0
    if metric in CORRELATIONS:
        return -1.0, 1.0
    return (0.0 if metric in NOT_NEGATIVE else -math.inf), math.inf
