"""Metrics through `evaluate`, defined here: its own are scripts on the Hub, which needs the network."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, log_loss, matthews_corrcoef, roc_auc_score

from heads.registry import Registry, UnknownNameError, describe_unknown
from research.task import Task

Floats = NDArray[np.floating[Any]]
Array = NDArray[Any]

LOWER_IS_BETTER = ("loss", "log_loss", "calibration_error", "mse")
SHARES = ("accuracy", "subset_accuracy", "f1_macro", "f1_micro", "auroc", "calibration_error")
"""Metrics from 0 to 1."""
CORRELATIONS = ("mcc", "pearson", "spearman")
"""Metrics from -1 to 1."""
NOT_NEGATIVE = ("log_loss", "mse")
NUM_CALIBRATION_BINS = 15


def probabilities(task: Task, logits: Floats) -> Floats:
    """Return scores of each label: softmax (single_label), sigmoid (multi_label) or the number itself (regression).

    Args:
        task: the labels.
        logits: [num_rows, num_labels].
    """
    logits = logits.astype(np.float64)
    if task.problem_type == "single_label":
        return np.asarray(softmax(logits, axis=1))
    return np.asarray(expit(logits)) if task.problem_type == "multi_label" else logits


def predictions(task: Task, logits: Floats) -> Array:
    """Return what is predicted: the likeliest label, the labels above one half, or the number.

    Args:
        task: the labels.
        logits: [num_rows, num_labels].
    Returns:
        [num_rows] int64, [num_rows, num_labels] int64, or [num_rows] float.
    """
    if task.problem_type == "single_label":
        return np.asarray(logits.argmax(axis=1))
    return (logits > 0).astype(np.int64) if task.problem_type == "multi_label" else logits[:, 0]


def compute_metrics(task: Task, logits: Floats, labels: Array) -> dict[str, float]:
    """Return all metrics of a task; one that is not defined on these rows (AUROC of one class) is NaN.

    Args:
        task: the labels.
        logits: [num_rows, num_labels].
        labels: [num_rows], or [num_rows, num_labels] for multi_label.
    """
    metric = METRICS[task.problem_type](
        task, config_name=task.problem_type, keep_in_memory=True, cache_dir=tempfile.gettempdir()
    )
    found: dict[str, float] = metric.compute(predictions=logits, references=labels)
    return found


def metric_names(task: Task) -> list[str]:
    """Return the names of a task's metrics, those of `compute_metrics`."""
    logits = np.zeros((2, task.num_labels))
    labels: Array = {
        "single_label": np.zeros(2, dtype=np.int64),
        "multi_label": np.zeros((2, task.num_labels)),
        "regression": np.zeros(2),
    }[task.problem_type]
    return list(compute_metrics(task, logits, labels))


def check_metric(name: str, task: Task) -> None:
    """Refuse a metric that a task does not have.

    Raises:
        UnknownNameError: naming the nearest metric and all of them.
    """
    names = [*metric_names(task), "loss"]
    if name not in names:
        raise UnknownNameError(describe_unknown("metric", name, names, listed_as="Metrics"))


def higher_is_better(metric: str) -> bool:
    """Return whether more of a metric is better; metrics of a user's own are taken for such."""
    return metric not in LOWER_IS_BETTER


def metric_bounds(metric: str) -> tuple[float, float]:
    """Return the least and the largest value of a metric; infinite for those of a user's own, and for the loss.

    An objective of a user's own may be negative.
    """
    if metric in SHARES or metric.startswith("f1/"):
        return 0.0, 1.0
    if metric in CORRELATIONS:
        return -1.0, 1.0
    return (0.0 if metric in NOT_NEGATIVE else -math.inf), math.inf


class TaskMetric(evaluate.Metric):  # type: ignore[misc]
    """Base of the metrics: predictions are logits.

    Args:
        task: the labels.
        **kwargs: what evaluate.Metric takes.
    """

    description = ""

    def __init__(self, task: Task, **kwargs: Any) -> None:
        self.task = task
        super().__init__(**kwargs)

    def _info(self) -> evaluate.MetricInfo:
        row = datasets.Sequence(datasets.Value("float64"))
        one = datasets.Value("int64" if self.task.problem_type == "single_label" else "float64")
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            features=datasets.Features(
                {"predictions": row, "references": row if self.task.problem_type == "multi_label" else one}
            ),
        )


METRICS: Registry[Callable[..., evaluate.Metric]] = Registry("metric")


@METRICS.register("single_label")
class SingleLabelMetrics(TaskMetric):
    """Metrics of one label of several."""

    description = "accuracy, F1, Matthews correlation, AUROC, log loss and expected calibration error of logits"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        logits, labels = np.asarray(predictions), np.asarray(references)
        scores, predicted = probabilities(self.task, logits), logits.argmax(axis=1)
        all_labels = list(range(self.task.num_labels))
        return {
            "accuracy": float((predicted == labels).mean()),
            "f1_macro": float(f1_score(labels, predicted, labels=all_labels, average="macro", zero_division=0.0)),
            "f1_micro": float(f1_score(labels, predicted, labels=all_labels, average="micro", zero_division=0.0)),
            "mcc": float(matthews_corrcoef(labels, predicted)) if len(np.unique(labels)) > 1 else float("nan"),
            "auroc": _auroc(scores, labels),
            "log_loss": float(log_loss(labels, scores, labels=all_labels)),
            "calibration_error": calibration_error(scores, labels),
        }


@METRICS.register("multi_label")
class MultiLabelMetrics(TaskMetric):
    """Metrics of any number of labels."""

    description = "subset accuracy, F1 over and of labels, AUROC and log loss of logits"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        logits, labels = np.asarray(predictions), np.asarray(references).astype(np.int64)
        scores, predicted = probabilities(self.task, logits), (logits > 0).astype(np.int64)
        each = [f1_score(labels[:, i], predicted[:, i], zero_division=0.0) for i in range(self.task.num_labels)]
        both = np.log(np.clip(np.where(labels == 1, scores, 1 - scores), 1e-15, None))
        present = [index for index in range(self.task.num_labels) if 0 < labels[:, index].sum() < len(labels)]
        return {
            "subset_accuracy": float((predicted == labels).all(axis=1).mean()),
            "f1_macro": float(np.mean(each)),
            "f1_micro": float(f1_score(labels.ravel(), predicted.ravel(), zero_division=0.0)),
            "auroc": float(np.mean([roc_auc_score(labels[:, i], scores[:, i]) for i in present] or [np.nan])),
            "log_loss": float(-both.mean()),
            **{f"f1/{name}": float(value) for name, value in zip(self.task.label_names, each, strict=True)},
        }


@METRICS.register("regression")
class RegressionMetrics(TaskMetric):
    """Metrics of a number."""

    description = "Pearson and Spearman correlation and mean squared error"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        outputs, scores = np.asarray(predictions)[:, 0], np.asarray(references)
        varies = len(scores) > 1 and np.ptp(outputs) > 0 and np.ptp(scores) > 0  # else they are not defined
        return {
            "pearson": float(pearsonr(outputs, scores).statistic) if varies else float("nan"),
            "spearman": float(spearmanr(outputs, scores).statistic) if varies else float("nan"),
            "mse": float(np.square(outputs - scores).mean()),
        }


def calibration_error(scores: Floats, labels: Array) -> float:
    """Return the expected calibration error, over bins of equal width.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.

    Args:
        scores: probabilities, [num_rows, num_labels].
        labels: [num_rows].
    """
    confidence, correct = scores.max(axis=1), scores.argmax(axis=1) == labels
    bins = np.minimum((confidence * NUM_CALIBRATION_BINS).astype(int), NUM_CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=NUM_CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def _auroc(scores: Floats, labels: Array) -> float:
    """Return the area under the ROC curve; one against the rest, where there are more than two labels.

    Mean over the labels that occur; NaN if there are not two of them.
    """
    present = np.unique(labels)
    if len(present) < 2:
        return float("nan")
    if scores.shape[1] == 2:
        return float(roc_auc_score(labels, scores[:, 1]))
    return float(np.mean([roc_auc_score(labels == label, scores[:, label]) for label in present]))
