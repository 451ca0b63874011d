"""Any number of labels per row."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from research.tasks.auroc import mean_auroc
from research.tasks.base import Array, Floats, register_task
from research.tasks.calibration import Reliability
from research.tasks.label_forms import LabelForms
from research.tasks.labelled import LabelledTask
from research.tasks.metric import FRACTION, NOT_NEGATIVE, Metric
from research.tasks.softmax import row_blocks
from research.tasks.thresholds import Criterion, Thresholds, choose_threshold

if TYPE_CHECKING:
    import pyarrow as pa


@register_task("multi_label")
class MultiLabel(LabelledTask):
    """Any number of labels per row: `labels` are 1 for labels that apply and 0 otherwise, [num_rows, num_labels]."""

    transformers_name = "multi_label_classification"
    default_objective = "bce"
    metrics = (
        Metric("subset_accuracy", FRACTION),
        Metric("f1_macro", FRACTION),
        Metric("f1_micro", FRACTION),
        Metric("auroc", FRACTION),
        Metric("log_loss", NOT_NEGATIVE, lower_is_better=True),
    )
    label_metric = Metric("f1/", FRACTION)
    several_per_row = True
    has_thresholds = True
    fewest_labels = 1
    correctness_title = "share of rows that are right in all labels (subset_accuracy)"
    label_quality_title = "F1 of the label"

    @classmethod
    def check_forms(cls, forms: LabelForms, column: str) -> None:
        if not forms.has_lists:
            raise ValueError(
                f"The task {cls.name} needs lists of labels (in jsonl or parquet), or text that --label_separator "
                f"splits into labels; column '{column}' holds single values."
            )

    @classmethod
    def other_interpretations(cls, forms: LabelForms, counts: Mapping[str, int], column: str) -> list[str]:
        if forms.has_one_value_per_row:
            return [
                f"Column '{column}' holds lists of one label each, read as multi-label data. If every row has exactly "
                "one label, set --task single_label."
            ]
        if 1 / 2 < forms.share_of_indicators < 1:
            return [
                f"Column '{column}' holds lists of only 0 and 1 in {forms.share_of_indicators:.0%} of the rows "
                "and other lists in the rest; all are read as lists of the labels that apply. If they should "
                "contain a 0 or 1 for each label, correct the other rows."
            ]
        if forms.only_zeros_and_ones and len(forms.list_lengths) > 1:
            lengths = " and ".join(f"{length} ({rows:,} rows)" for length, rows in sorted(forms.list_lengths.items()))
            return [
                f"Column '{column}' holds lists that contain only 0 and 1, of lengths {lengths}, read as lists of the "
                "labels that apply. If they contain a 0 or 1 for each label, give all lists the same length."
            ]
        return []

    @classmethod
    def column_type(cls) -> pa.DataType:
        import pyarrow as pa

        return pa.list_(pa.int64())

    def label_array(self, values: Sequence[Any]) -> NDArray[np.float32]:
        labels = np.zeros((len(values), self.num_labels), dtype=np.float32)
        for row, codes in enumerate(values):
            labels[row, np.asarray(codes, dtype=np.int64)] = 1.0
        return labels

    def missing_labels(self, num_rows: int) -> NDArray[np.float32]:
        return np.full((num_rows, self.num_labels), math.nan, dtype=np.float32)

    @np.errstate(invalid="ignore")  # logits that are not finite are reported by the caller
    def probabilities(self, logits: Floats) -> Floats:
        """Return the sigmoid of each logit."""
        from scipy.special import expit

        values = logits.astype(np.float64)
        return np.asarray(expit(values, out=values))

    def predicted_labels(self, logits: Floats) -> NDArray[np.int8]:
        """Return 1 for each label with a probability above its threshold, otherwise 0, [num_rows, num_labels] int8."""
        return np.asarray(logits > self._logit_thresholds).view(np.int8)

    @property
    def _logit_thresholds(self) -> Floats | float:
        """Logit above which each label is predicted."""
        from scipy.special import logit

        return np.asarray(logit(np.asarray(self.thresholds))) if self.thresholds else 0.0

    def compute_metrics(self, logits: Floats, labels: Array) -> dict[str, float]:
        """Return subset accuracy, F1 over all labels and per label, AUROC and log loss.

        As in scikit-learn, f1_macro is the mean over all labels; a label neither present nor predicted counts as 0.
        """
        has_label, predicted = labels.astype(bool), self.predicted_labels(logits).view(np.bool_)
        counts = self.count_labels(has_label, predicted)
        f1 = counts.f1
        return {
            "subset_accuracy": float((predicted == has_label).all(axis=1).mean()),
            "f1_macro": float(f1.mean()),
            "f1_micro": counts.f1_micro,
            "auroc": mean_auroc(lambda block: self.probabilities(logits[:, block]), has_label),
            "log_loss": _mean_log_loss(logits, has_label),
            **{f"f1/{name}": float(value) for name, value in zip(self.label_names, f1, strict=True)},
        }

    def logits_from(self, probabilities: Floats) -> Floats:
        """Return the inverse of the sigmoid."""
        from scipy.special import logit

        smallest, largest = np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg
        return np.asarray(logit(np.clip(probabilities, smallest, largest)))

    def fit_thresholds(self, logits: Floats, labels: Array, criterion: Criterion) -> Thresholds:
        values, fallbacks = [], {}
        for label, name in enumerate(self.label_names):
            probabilities = self.probabilities(logits[:, label])
            value, reason = choose_threshold(criterion, probabilities, self.has_label(labels, label))
            values.append(value)
            if reason is not None:
                fallbacks[name] = reason
        return Thresholds(tuple(values), fallbacks)

    def reliability(self, logits: Floats, labels: Array) -> Reliability:
        """Group all pairs of a row and a label by the probability of the label."""
        blocks = [
            Reliability.of(self.probabilities(logits[rows]).ravel(), labels[rows].astype(bool).ravel())
            for rows in row_blocks(*logits.shape)
        ]
        return functools.reduce(operator.add, blocks)

    def label_name_column(self, labels: Array) -> pa.Array:
        """Return lists of the names of the labels that apply."""
        import pyarrow as pa

        names = [[self.label_names[index] for index in np.flatnonzero(row)] for row in labels]
        return pa.array(names, pa.list_(pa.string()))

    def describe_label(self, label: Any) -> str:
        return ", ".join(self.label_names[index] for index in np.flatnonzero(label)) or "none"

    def mistake_severity(self, labels: Array, predicted: Array, logits: Floats) -> Array:
        """Return the probability of the most confident wrong prediction over all labels; 0 if all labels are right."""
        from scipy.special import expit

        most_confident = np.where(predicted != labels, np.abs(logits), -np.inf).max(axis=1)
        return np.asarray(expit(most_confident.astype(np.float64)))

    @classmethod
    def correctness(cls, labels: Array, predicted: Array) -> NDArray[np.bool_]:
        """Return a mask of the rows in which all labels are predicted correctly."""
        return np.asarray((predicted == labels).all(axis=-1))

    def label_quality(self, labels: Array, predicted: Array) -> Floats:
        """Return each label's F1, [num_labels]."""
        return self.count_labels(labels, predicted).f1

    def has_label(self, labels: Array, label: int) -> NDArray[np.bool_]:
        return np.asarray(labels[:, label] == 1)

    def label_indicators(self, labels: Array) -> Array:
        return labels

    def label_probabilities(self, logits: Floats) -> Callable[[int], Floats]:
        return lambda label: self.probabilities(logits[:, label])


def _mean_log_loss(logits: Floats, has_label: NDArray[np.bool_]) -> float:
    """Return the log loss of sigmoid probabilities, averaged over rows and labels.

    To limit memory use, it is computed for one block of rows at a time.

    Args:
        logits: [num_rows, num_labels].
        has_label: mask of each row's labels, [num_rows, num_labels].
    """
    from scipy.special import expit

    total = 0.0
    for rows in row_blocks(*logits.shape):
        # The sigmoid of -logit is the probability that the row lacks the label.
        logits_of_truth = np.where(has_label[rows], logits[rows], -logits[rows]).astype(np.float64)
        total -= float(np.log(np.clip(expit(logits_of_truth), 1e-15, None)).sum())  # avoid log(0)
    return total / logits.size
