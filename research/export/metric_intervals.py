"""Confidence intervals of the test metrics, from the predictions of a run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from research.records.results import predictions_path
from research.tasks.base import Floats, Task

NUM_RESAMPLES = 400
"""Number of bootstrap samples."""
LEVEL = 0.95
"""Confidence level."""
_SEED = 0
_ROUNDING = 1e-4
"""Difference from the recorded metric that rounding may cause, such as a changed order of two equal scores."""


def bootstrap_test_metrics(run: Path, task: Task, metrics: dict[str, float | None]) -> dict[str, tuple[float, float]]:
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
    table = pq.read_table(path)
    labels = task.label_array(table["label"].to_pylist())
    scores = np.column_stack([table[f"score_{name}"].to_numpy() for name in task.label_names])
    logits = _logits(task, scores)
    recomputed = task.compute_metrics(logits, labels)
    names = [
        name
        for name, value in metrics.items()
        if value is not None and _is_close(recomputed.get(name, math.nan), value)
    ]
    generator = np.random.default_rng(_SEED)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(NUM_RESAMPLES if names else 0):
        rows = generator.integers(len(labels), size=len(labels))
        sampled = task.compute_metrics(logits[rows], labels[rows])
        for name in names:
            samples[name].append(sampled[name])
    tail = 100 * (1 - LEVEL) / 2
    return {
        name: (float(np.percentile(values, tail)), float(np.percentile(values, 100 - tail)))
        for name, values in samples.items()
        if np.isfinite(values).all()
    }


def _logits(task: Task, scores: Floats) -> Floats:
    """Return logits with the given probabilities, or the scores themselves if they are not probabilities."""
    if task.labels_are_numbers:
        return scores
    scores = scores.clip(np.finfo(scores.dtype).tiny, 1 - np.finfo(scores.dtype).epsneg)
    return np.log(scores) - np.log1p(-scores) if task.several_per_row else np.log(scores)


def _is_close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
