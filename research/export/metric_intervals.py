"""Confidence intervals of the test metrics, from the predictions of a run."""

from __future__ import annotations

import math
from pathlib import Path

from research.inference.metric_intervals import bootstrap_metrics
from research.records.predictions_file import predictions_path, read_predictions_file
from research.tasks.base import Task

NUM_RESAMPLES = 400
"""Number of bootstrap resamples."""
_SEED = 0
_ROUNDING = 1e-4
"""Difference from the recorded metric that rounding may cause, such as a changed order of two equal scores."""


def bootstrap_test_metrics(run: Path, task: Task, metrics: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Return percentile bootstrap intervals over the rows of predictions/test.parquet, with a fixed seed.

    Args:
        run: run directory.
        task: the task of the run.
        metrics: test metrics in result.json.
    Returns:
        The interval of each metric that can be computed from the file. Empty if there is no such file.
    """
    path = predictions_path(run, "test")
    if not path.is_file():
        return {}
    predictions = read_predictions_file(path, task)
    assert predictions.labels is not None
    values = (task, predictions.logits, predictions.labels)
    intervals = bootstrap_metrics(*values, num_resamples=NUM_RESAMPLES, seed=_SEED)
    recomputed = task.compute_metrics(predictions.logits, predictions.labels)
    return {
        name: intervals[name]
        for name, value in metrics.items()
        if math.isclose(recomputed.get(name, math.nan), value, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        and all(map(math.isfinite, intervals[name]))
    }
