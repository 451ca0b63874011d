"""Names of the metrics of all tasks: which there are, which way each is better, and its bounds."""

from __future__ import annotations

import math

from heads.registry import UnknownNameError, describe_unknown
from research.tasks.base import TASKS, Task
from research.tasks.metric import ANY_NUMBER, LOSS, Metric


def check_metric(name: str, task: Task) -> None:
    """Refuse a metric that a task does not have.

    Raises:
        UnknownNameError: naming the nearest metric and all of them.
    """
    _refuse_others(name, [*task.metric_names, LOSS.name])


def check_metric_name(name: str, problem_type: str | None = None) -> None:
    """Refuse a metric that no data have, before the labels are known.

    Args:
        name: of the metric.
        problem_type: kind of labels, if it is known; one that is not registered (yet) may have any metric.
    Raises:
        UnknownNameError: naming the nearest metric and all of them.
    """
    if problem_type is not None and problem_type not in TASKS:
        return
    kinds = [TASKS[each] for each in ((problem_type,) if problem_type is not None else TASKS)]
    if not any(kind.label_metric is not None and name.startswith(kind.label_metric.name) for kind in kinds):
        _refuse_others(name, [*dict.fromkeys(metric.name for kind in kinds for metric in kind.metrics), LOSS.name])


def _refuse_others(name: str, names: list[str]) -> None:
    if name not in names:
        raise UnknownNameError(describe_unknown("metric", name, names, listed_as="Metrics"))


def find_metric(name: str) -> Metric | None:
    """Return the metric of any task that has this name; None for one of a user's own."""
    if name == LOSS.name:
        return LOSS
    for kind in (TASKS[each] for each in TASKS):
        for metric in kind.metrics:
            if metric.name == name:
                return metric
        if kind.label_metric is not None and name.startswith(kind.label_metric.name):
            return kind.label_metric
    return None


def higher_is_better(name: str) -> bool:
    """Return whether more of a metric is better; metrics of a user's own are taken for such."""
    metric = find_metric(name)
    return metric is None or not metric.lower_is_better


def is_better(metric: str, value: float, best: float | None) -> bool:
    """Return whether a metric's value is better than the best so far; one that is not defined (NaN) never is."""
    if best is None:
        return not math.isnan(value)
    return value > best if higher_is_better(metric) else value < best


def metric_bounds(name: str) -> tuple[float, float]:
    """Return the least and the largest value of a metric; infinite for those of a user's own, and for the loss."""
    metric = find_metric(name)
    return ANY_NUMBER if metric is None else metric.bounds
