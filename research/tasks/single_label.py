"""One label per row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from research.tasks.auroc import mean_auroc
from research.tasks.base import Array, Floats, register_task
from research.tasks.calibration import Reliability, calibration_error
from research.tasks.label_forms import LabelForms
from research.tasks.labelled import LabelledTask
from research.tasks.matthews import matthews_correlation
from research.tasks.metric import CORRELATION, FRACTION, NOT_NEGATIVE, Metric
from research.tasks.numbers import MAX_WHOLE_NUMBER_CLASSES, NUMBER, WHOLE_NUMBER
from research.tasks.softmax import BlockSoftmax

if TYPE_CHECKING:
    import pyarrow as pa

NO_LABEL = -100
"""Placeholder for a missing label, which cross-entropy ignores."""
_LOG_LOSS_BOUNDS = (np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
"""Probabilities are clipped to this range, as in scikit-learn."""


@register_task("single_label")
class SingleLabel(LabelledTask):
    """One label per row: `labels` are label codes, [num_rows] int64."""

    transformers_name = "single_label_classification"
    default_objective = "cross_entropy"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", FRACTION),
        Metric("f1_macro", FRACTION),
        Metric("f1_micro", FRACTION),
        Metric("mcc", CORRELATION),
        Metric("auroc", FRACTION),
        Metric("log_loss", NOT_NEGATIVE, lower_is_better=True),
        Metric("calibration_error", FRACTION, lower_is_better=True),
    )
    has_confusion_matrix = True
    correctness_title = "share of rows that are right (accuracy)"
    label_quality_title = "share of the label's rows that are right (recall)"

    @classmethod
    def check_forms(cls, forms: LabelForms, column: str) -> None:
        cls._check_one_value(forms, column)

    @classmethod
    def other_interpretations(cls, forms: LabelForms, counts: Mapping[str, int], column: str) -> list[str]:
        if forms.type_names <= {"int", "float"}:
            if "float" in forms.type_names:
                return [
                    f"Column '{column}' holds {len(counts)} whole numbers stored as floats, read as classes. If they "
                    "are scores, set --task regression."
                ]
            if len(counts) > MAX_WHOLE_NUMBER_CLASSES:
                return [
                    f"Column '{column}' holds {len(counts)} distinct whole numbers, read as classes. If they are "
                    "scores, set --task regression."
                ]
            return []
        if _are_fractions_as_text(counts):
            return [
                f"Column '{column}' holds numbers with a fraction as text, read as classes. If they are scores, store "
                "them as numbers, with a decimal point."
            ]
        return []

    @classmethod
    def column_type(cls) -> pa.DataType:
        import pyarrow as pa

        return pa.int64()

    def label_array(self, values: Sequence[Any]) -> NDArray[np.int64]:
        return np.asarray(values, dtype=np.int64)

    def missing_labels(self, num_rows: int) -> NDArray[np.int64]:
        return np.full(num_rows, NO_LABEL, dtype=np.int64)

    @np.errstate(invalid="ignore")  # logits that are not finite are reported by the caller
    def probabilities(self, logits: Floats) -> Floats:
        """Return the softmax of the logits."""
        values = logits.astype(np.float64)  # computed in place: scipy's softmax takes ten times as long for many labels
        values -= values.max(axis=1, keepdims=True)
        np.exp(values, out=values)
        values /= values.sum(axis=1, keepdims=True)
        return values

    def predicted_labels(self, logits: Floats) -> NDArray[np.int64]:
        """Return the label with the highest probability, [num_rows] int64."""
        return np.asarray(logits.argmax(axis=1))

    def compute_metrics(self, logits: Floats, labels: Array) -> dict[str, float]:
        """Return accuracy, F1, Matthews correlation, AUROC, log loss and expected calibration error.

        As in scikit-learn, f1_macro is the mean over the labels that occur in `labels` or are predicted for some row;
        all remaining labels are ignored. Rows with unseen labels count as wrong, but AUROC and log loss leave them out.
        """
        from sklearn.metrics import f1_score

        softmax, predicted = BlockSoftmax(logits), self.predicted_labels(logits)
        correct = predicted == labels
        # AUROC and log loss use only the rows whose label has an output; usually, these are all rows.
        is_seen = labels < self.num_labels
        seen_labels, seen_softmax = labels, softmax
        if not is_seen.all():
            seen_labels, seen_softmax = labels[is_seen], BlockSoftmax(logits[is_seen])
        return {
            "accuracy": float(correct.mean()),
            "f1_macro": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
            "f1_micro": float(f1_score(labels, predicted, average="micro", zero_division=0.0)),
            "mcc": matthews_correlation(labels, predicted),
            "auroc": (
                mean_auroc(seen_softmax.columns, seen_labels)
                if self.num_labels > 2
                else _binary_auroc(seen_softmax, seen_labels)
            ),
            "log_loss": float(-np.log(np.clip(seen_softmax.probabilities_of(seen_labels), *_LOG_LOSS_BOUNDS)).mean()),
            "calibration_error": calibration_error(softmax.confidence, correct),
        }

    def fit_temperature(self, logits: Floats, labels: Array) -> float:
        """Fit the temperature to the rows whose label has an output."""
        is_seen = labels < self.num_labels
        return super().fit_temperature(logits[is_seen], labels[is_seen])

    def logits_from(self, probabilities: Floats) -> Floats:
        """Return the logarithm of each probability."""
        return np.asarray(np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)))

    def reliability(self, logits: Floats, labels: Array) -> Reliability:
        """Group rows by the probability of the predicted label."""
        return Reliability.of(BlockSoftmax(logits).confidence, self.predicted_labels(logits) == labels)

    def label_name_column(self, labels: Array) -> pa.Array:
        import pyarrow as pa

        return pa.array(self.names_of(labels.tolist()), pa.string())

    def names_of(self, labels: Iterable[int]) -> list[str]:
        """Return the names of label codes, including unseen labels; a placeholder for codes that have no name."""
        names = (*self.label_names, *self.unseen_labels, "label unknown to the training rows")
        return [names[min(label, len(names) - 1)] for label in labels]

    def describe_label(self, label: Any) -> str:
        return self.names_of([int(label)])[0]

    def mistake_severity(self, labels: Array, predicted: Array, logits: Floats) -> Array:
        """Return the probability of the predicted label, or 0 if it is correct, [num_rows]."""
        return np.where(predicted != labels, BlockSoftmax(logits).confidence, 0.0)

    @classmethod
    def correctness(cls, labels: Array, predicted: Array) -> NDArray[np.bool_]:
        return np.asarray(predicted == labels)

    def label_quality(self, labels: Array, predicted: Array) -> Floats:
        """Return the recall of each label, [num_labels]; NaN for labels without rows."""
        counts = self.count_labels(labels, predicted)
        return np.where(counts.present, counts.recall, np.nan)

    def one_versus_rest_candidates(self) -> range:
        """Return all label codes, but only the second of two: the first label's probability is its complement."""
        return range(1, 2) if self.num_labels == 2 else range(self.num_labels)

    def has_label(self, labels: Array, label: int) -> NDArray[np.bool_]:
        return np.asarray(labels == label)

    def label_indicators(self, labels: Array) -> NDArray[np.bool_]:
        return np.asarray(labels[:, None] == np.arange(self.num_labels))

    def label_probabilities(self, logits: Floats) -> Callable[[int], Floats]:
        softmax = BlockSoftmax(logits)
        return lambda label: softmax.columns(slice(label, label + 1))[:, 0]


def _are_fractions_as_text(names: Iterable[str]) -> bool:
    """Return whether all names are numbers, and some have a fraction after a point or comma."""
    numbers = [name.replace(",", ".", 1) for name in names]
    return all(map(NUMBER.fullmatch, numbers)) and not all(map(WHOLE_NUMBER.fullmatch, numbers))


def _binary_auroc(softmax: BlockSoftmax, labels: Array) -> float:
    """Return the area under the ROC curve of the second of two labels."""
    # The mask has a single column, so the area is computed only for the second label.
    return mean_auroc(lambda _: softmax.columns(slice(1, 2)), (labels == 1)[:, None])
