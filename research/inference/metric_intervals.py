"""Confidence intervals of metrics, from resampled rows."""

from __future__ import annotations

import numpy as np

from research.statistics.bootstrap import percentile_interval
from research.system.waiting import WaitingProgress
from research.tasks.base import Array, Floats, Task


def bootstrap_metrics(
    task: Task, logits: Floats, labels: Array, *, num_resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of each metric over resampled rows.

    Args:
        task: the task, with its thresholds.
        logits: logits of the rows, [num_rows, num_labels].
        labels: labels of the rows, as returned by `Task.label_array`.
        num_resamples: number of resamples; 0 returns no intervals.
        seed: seed of the resampling.
    Returns:
        Lower and upper bound by metric; NaN if the metric is undefined in some resamples.
    """
    if num_resamples == 0:
        return {}
    with WaitingProgress("bootstrap", num_resamples, "resample") as progress:

        def resampled_metrics(resamples: Array, axis: int) -> Floats:
            values = []
            for rows in resamples:
                values.append([*task.compute_metrics(logits[rows], labels[rows]).values()])
                progress.update(1)
            return np.array(values).T

        low, high = percentile_interval(
            [np.arange(len(logits))], resampled_metrics, num_resamples=num_resamples, seed=seed
        )
    return dict(zip(task.metric_names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
