"""Metrics of all tasks by name: check names, and look up a metric's direction and bounds."""

from __future__ import annotations

import math

from heads.registry import UnknownNameError, describe_unknown
from research.tasks.base import TASKS, Task
from research.tasks.metric import ANY_NUMBER, LOSS, Metric


def check_metric(name: str, task: Task) -> None:
    """Check that a task has a metric.

    Raises:
        UnknownNameError: if the task lacks it; the message suggests the nearest metric and lists all metrics.
    """
    _check_known(name, [*task.metric_names, LOSS.name])


def check_metric_name(name: str, task_name: str | None = None) -> None:
    """Check that at least one task has a metric, before the labels are known.

    Args:
        name: name of the metric.
        task_name: name of the task, if known; a task that is not (yet) registered may have any metric.
    Raises:
        UnknownNameError: if no task (or, with `task_name`, this task) has it; the message suggests the nearest metric
            and lists all metrics.
    """
    if task_name is not None and task_name not in TASKS:
        return
    tasks = [TASKS[each] for each in ((task_name,) if task_name is not None else TASKS)]
    if not any(_is_metric_of_one_label(name, task) for task in tasks):
        _check_known(name, [*dict.fromkeys(metric.name for task in tasks for metric in task.metrics), LOSS.name])


def _is_metric_of_one_label(name: str, task: type[Task]) -> bool:
    """Return whether a name such as `f1/joy` starts with the task's metric of one label, here `f1/`."""
    return task.label_metric is not None and name.startswith(task.label_metric.name)


def _check_known(name: str, names: list[str]) -> None:
    if name not in names:
        raise UnknownNameError(describe_unknown("metric", name, names, listed_as="Metrics"))


def find_metric(name: str) -> Metric | None:
    """Return the metric with this name of any registered task; None if there is none, as for user-defined metrics."""
    if name == LOSS.name:
        return LOSS
    for task in (TASKS[each] for each in TASKS):
        for metric in task.metrics:
            if metric.name == name:
                return metric
        if _is_metric_of_one_label(name, task):
            return task.label_metric
    return None


def higher_is_better(name: str) -> bool:
    """Return whether a higher value of a metric is better; this is assumed for user-defined metrics."""
    metric = find_metric(name)
    return metric is None or not metric.lower_is_better


def is_better(name: str, value: float, best: float | None) -> bool:
    """Return whether a metric's value is better than the best previous value; NaN never is."""
    if best is None:
        return not math.isnan(value)
    return value > best if higher_is_better(name) else value < best


def metric_bounds(name: str) -> tuple[float, float]:
    """Return the bounds of a metric's values; infinite for the loss and for user-defined metrics."""
    metric = find_metric(name)
    return ANY_NUMBER if metric is None else metric.bounds
