"""Generate the page of all metrics from the tasks that declare them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from site_text import code, heading

from research.tasks.base import TASKS, Task
from research.tasks.metric import LOSS, Metric

MEANINGS = {
    "loss": "Mean of the objective's losses over the rows. Losses of different objectives are not comparable.",
    "accuracy": "Share of rows whose predicted label is correct.",
    "f1_macro": "Mean over labels of F1, the harmonic mean of precision and recall (van Rijsbergen 1979). With one "
    "label per row, only labels that occur among the rows or the predictions count; with several labels per row, all "
    "labels count.",
    "f1_micro": "F1 over the predictions for all labels together. With one label per row, it equals the accuracy.",
    "mcc": "Correlation coefficient of labels and predictions (Matthews 1975): 0 for constant or random predictions.",
    "auroc": "Area under the ROC curve of the probabilities (Fawcett 2006). With more than two "
    "labels, the mean over labels of the area for this label against the rest. NaN if every label occurs in all rows "
    "or in none.",
    "log_loss": "Mean negative logarithm of the probability of the correct label (cross-entropy). With several labels "
    "per row, the mean is taken over rows and labels.",
    "calibration_error": "Expected calibration error: the mean distance between confidence and accuracy over 15 bins "
    "of equal width (Guo et al. 2017).",
    "subset_accuracy": "Share of rows whose labels are predicted exactly: none missing, none added.",
    "f1/": "F1 of a single label. The label's name follows the slash: `f1/joy`.",
    "pearson": "Correlation of labels and predictions (Pearson 1895). NaN if either is constant.",
    "spearman": "Rank correlation of labels and predictions (Spearman 1904). NaN if either is constant.",
    "mse": "Mean squared error.",
}
"""Description of each metric, with its source. The build fails if a metric has no entry, or an entry has no metric."""


def metrics_page() -> str:
    """Return the page with the metrics of all tasks."""
    tasks = {name: TASKS[name] for name in TASKS}
    metrics = {LOSS.name: LOSS}
    for task in tasks.values():
        for metric in (*task.metrics, *([task.label_metric] if task.label_metric is not None else [])):
            metrics.setdefault(metric.name, metric)
    assert metrics.keys() == MEANINGS.keys(), (
        f"expected one entry of MEANINGS for each metric; missing or superfluous: {metrics.keys() ^ MEANINGS.keys()}"
    )
    task_lines = [f"- [{code(name)}](tasks.md#{name}): {_links_to(task.metrics)}" for name, task in tasks.items()]
    return "\n".join(
        [
            "# Metrics\n",
            "A run computes every metric of its task on the validation and test rows. `--best_metric` selects the",
            "metric for the best model, and a study's `--metric` the metric that it compares. In `metrics.jsonl`, the",
            "name of the split precedes the name of the metric: `validation/accuracy`. To add a metric,",
            "[write a task](../how-to/own-metric.md) that declares it. This page is generated from the tasks.\n",
            *task_lines,
            "",
            *(part for metric in metrics.values() for part in _metric_section(metric, tasks)),
        ]
    )


def _links_to(metrics: tuple[Metric, ...]) -> str:
    return ", ".join(f"[{code(metric.name)}](#{metric.name})" for metric in metrics)


def _metric_section(metric: Metric, tasks: Mapping[str, type[Task]]) -> Iterator[str]:
    low, high = (f"{bound:g}" if math.isfinite(bound) else None for bound in metric.bounds)
    bounds = f"from {low} to {high}" if low and high else f"{low} or more" if low else "any number"
    yield heading(2, code(metric.name), metric.name)
    yield MEANINGS[metric.name] + "\n"
    yield f"- Values: {bounds}; {'lower' if metric.lower_is_better else 'higher'} is better."
    task_names = [name for name, task in tasks.items() if metric in (LOSS, *task.metrics, task.label_metric)]
    yield f"- Tasks: {', '.join(f'[{code(name)}](tasks.md#{name})' for name in task_names)}.\n"
