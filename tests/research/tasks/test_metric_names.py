"""Metrics by name: checks, direction and bounds."""

from __future__ import annotations

import math

import pytest

from heads.registry import UnknownNameError
from research.tasks.metric_names import check_metric_name, higher_is_better, is_better, metric_bounds


def test_higher_is_better_is_false_only_for_losses_and_errors() -> None:
    assert not any(map(higher_is_better, ("loss", "log_loss", "mse", "calibration_error")))
    assert all(map(higher_is_better, ("accuracy", "f1_macro", "auroc", "pearson", "f1/joy", "logged_by_a_hook")))


@pytest.mark.parametrize(
    ("metric", "bounds"),
    [
        ("accuracy", (0, 1)),
        ("f1/joy", (0, 1)),
        ("calibration_error", (0, 1)),
        ("mcc", (-1, 1)),
        ("spearman", (-1, 1)),
        ("mse", (0, math.inf)),
        ("loss", (-math.inf, math.inf)),
        ("logged_by_a_hook", (-math.inf, math.inf)),
    ],
)
def test_metric_bounds_are_infinite_unless_declared(metric: str, bounds: tuple[float, float]) -> None:
    assert metric_bounds(metric) == bounds


def test_is_better_depends_on_the_metric_and_is_false_for_nan() -> None:
    assert is_better("mse", 0.5, None)
    assert is_better("mse", 0.4, 0.5)
    assert is_better("accuracy", 0.6, 0.5)
    assert not is_better("mse", math.nan, None)
    assert not is_better("accuracy", math.nan, 0.5)


def test_check_metric_name_rejects_unknown_metrics_and_metrics_of_another_task() -> None:
    for name, task_name in (("mse", None), ("f1/joy", None), ("mse", "regression"), ("f1/joy", "multi_label")):
        check_metric_name(name, task_name)
    check_metric_name("anything", "unregistered")  # a task that is not registered yet may have any metric
    for name, task_name in (("msa", None), ("mse", "single_label"), ("f1/joy", "single_label")):
        with pytest.raises(UnknownNameError):
            check_metric_name(name, task_name)
