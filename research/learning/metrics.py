"""Metrics through `evaluate`, defined here: its own are scripts on the Hub, which needs the network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score

from heads.registry import Registry
from research.learning.auroc import mean_auroc
from research.learning.label_counts import LabelCounts
from research.learning.softmax import BlockSoftmax, row_blocks
from research.tasks.task import Task

Floats = NDArray[np.floating[Any]]
Array = NDArray[Any]

NUM_CALIBRATION_BINS = 15
_LOG_LOSS_BOUNDS = (np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
"""Probabilities of 0 and 1 are moved here, as scikit-learn does."""


@np.errstate(invalid="ignore")  # logits that are not finite are reported where they come from
def probabilities(task: Task, logits: Floats) -> Floats:
    """Return scores of each label: softmax (single_label), sigmoid (multi_label) or the number itself (regression).

    Args:
        task: the labels.
        logits: [num_rows, num_labels].
    """
    scores = logits.astype(np.float64)
    if task.problem_type == "single_label":  # in place: scipy's softmax takes ten times as long for many labels
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores
    return expit(scores, out=scores) if task.problem_type == "multi_label" else scores


def predictions(task: Task, logits: Floats) -> Array:
    """Return what is predicted: the likeliest label, the labels above one half, or the number.

    Args:
        task: the labels.
        logits: [num_rows, num_labels].
    Returns:
        [num_rows] int64, [num_rows, num_labels] int8 of zeros and ones, or [num_rows] float.
    """
    if task.problem_type == "single_label":
        return np.asarray(logits.argmax(axis=1))
    return (logits > 0).view(np.int8) if task.problem_type == "multi_label" else logits[:, 0]


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

    def compute(self, *, predictions: Array, references: Array) -> dict[str, float]:
        """Score arrays as they are: in evaluate's tables every logit would become a Python object."""
        return self._compute(predictions, references)

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
    """Metrics of one label of several.

    As in scikit-learn, f1_macro is the mean over the labels that occur among the labels or the predictions of the rows:
    a label that is in neither does not lower it. Rows with a label that training never saw count as wrong; AUROC and
    log loss are those of the other rows.
    """

    description = "accuracy, F1, Matthews correlation, AUROC, log loss and expected calibration error of logits"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        logits, labels = np.asarray(predictions), np.asarray(references)
        scores, predicted = BlockSoftmax(logits), logits.argmax(axis=1)
        correct = predicted == labels
        # Only of rows whose label has a probability; as a rule that is all of them.
        seen = labels < self.task.num_labels
        known, scores_of_known = (labels, scores) if seen.all() else (labels[seen], BlockSoftmax(logits[seen]))
        return {
            "accuracy": float(correct.mean()),
            "f1_macro": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
            "f1_micro": float(f1_score(labels, predicted, average="micro", zero_division=0.0)),
            "mcc": matthews_correlation(labels, predicted),
            "auroc": (
                mean_auroc(scores_of_known.columns, known)
                if self.task.num_labels > 2
                else _binary_auroc(scores_of_known, known)
            ),
            "log_loss": float(-np.log(np.clip(scores_of_known.of(known), *_LOG_LOSS_BOUNDS)).mean()),
            "calibration_error": calibration_error(scores.confidence, correct),
        }


@METRICS.register("multi_label")
class MultiLabelMetrics(TaskMetric):
    """Metrics of any number of labels.

    As in scikit-learn, f1_macro is the mean over all labels, with 0 for one that is neither present nor predicted.
    """

    description = "subset accuracy, F1 over and of labels, AUROC and log loss of logits"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        logits, applies = np.asarray(predictions), np.asarray(references).astype(bool)
        predicted = logits > 0
        counts = LabelCounts.of(applies, predicted, self.task.num_labels)
        f1 = counts.f1
        return {
            "subset_accuracy": float((predicted == applies).all(axis=1).mean()),
            "f1_macro": float(f1.mean()),
            "f1_micro": counts.f1_micro,
            "auroc": mean_auroc(lambda block: probabilities(self.task, logits[:, block]), applies),
            "log_loss": _mean_log_loss(logits, applies),
            **{f"f1/{name}": float(value) for name, value in zip(self.task.label_names, f1, strict=True)},
        }


@METRICS.register("regression")
class RegressionMetrics(TaskMetric):
    """Metrics of a number."""

    description = "Pearson and Spearman correlation and mean squared error"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        outputs, scores = (np.asarray(values, dtype=np.float64) for values in (predictions[:, 0], references))
        varies = len(scores) > 1 and np.ptp(outputs) > 0 and np.ptp(scores) > 0  # else they are not defined
        return {
            "pearson": float(pearsonr(outputs, scores).statistic) if varies else float("nan"),
            "spearman": float(spearmanr(outputs, scores).statistic) if varies else float("nan"),
            "mse": float(np.square(outputs - scores).mean()),
        }


def _mean_log_loss(logits: Floats, applies: NDArray[np.bool_]) -> float:
    """Return the mean over rows and labels of the log loss of sigmoid probabilities, a block of rows at a time.

    Args:
        logits: [num_rows, num_labels].
        applies: which labels each row has, [num_rows, num_labels].
    """
    total = 0.0
    for rows in row_blocks(*logits.shape):
        towards_label = np.where(applies[rows], logits[rows], -logits[rows]).astype(np.float64)
        total -= float(np.log(np.clip(expit(towards_label), 1e-15, None)).sum())
    return total / logits.size


def calibration_error(confidence: Floats, correct: Array) -> float:
    """Return the expected calibration error, over bins of equal width.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.

    Args:
        confidence: probability of the predicted label, [num_rows].
        correct: whether it is the row's label, [num_rows].
    """
    bins = np.minimum((confidence * NUM_CALIBRATION_BINS).astype(int), NUM_CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=NUM_CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(correct))


def matthews_correlation(labels: Array, predicted: Array) -> float:
    """Return Matthews' correlation of labels and predictions; NaN if there is one label only.

    scikit-learn's takes a matrix of all pairs of labels, which for many labels does not fit into memory.

    Args:
        labels: [num_rows].
        predicted: [num_rows].
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    size = int(max(labels.max(), predicted.max())) + 1
    of_label, of_predicted = (np.bincount(values, minlength=size).astype(np.float64) for values in (labels, predicted))
    num_rows = float(len(labels))
    covariance = float((labels == predicted).sum()) * num_rows - of_label @ of_predicted
    variances = (num_rows**2 - of_predicted @ of_predicted) * (num_rows**2 - of_label @ of_label)
    return float(covariance / np.sqrt(variances)) if variances else 0.0


def _binary_auroc(scores: BlockSoftmax, labels: Array) -> float:
    """Return the area under the ROC curve of the second of two labels."""
    return mean_auroc(lambda _: scores.columns(slice(1, 2)), (labels == 1)[:, None])
