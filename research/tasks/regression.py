"""One number per row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from research.tasks.base import Array, Floats, Task, register_task
from research.tasks.label_forms import LabelForms
from research.tasks.metric import CORRELATION, NOT_NEGATIVE, Metric
from research.tasks.numbers import MAX_WHOLE_NUMBER_CLASSES

if TYPE_CHECKING:
    import pyarrow as pa


@register_task("regression")
class Regression(Task):
    """One score per row: `labels` are the scores, [num_rows] float32."""

    transformers_name = "regression"
    default_objective = "mse"
    metrics = (
        Metric("pearson", CORRELATION),
        Metric("spearman", CORRELATION),
        Metric("mse", NOT_NEGATIVE, lower_is_better=True),
    )
    labels_are_numbers = True
    correctness_is_distance = True
    correctness_title = "mean distance from the score (lower is better)"
    mistakes_title = "Largest errors"
    mistakes_name = "errors"
    severity_title = "distance"

    @classmethod
    def check_forms(cls, forms: LabelForms, column: str) -> None:
        if forms.indicator_length is not None:
            raise ValueError(f"The task {cls.name} needs numbers; column '{column}' holds a 0 or 1 for each label.")
        cls._check_one_value(forms, column)
        if forms.type_names.isdisjoint(("int", "float")):
            raise ValueError(f"The task {cls.name} needs numbers; column '{column}' holds no numbers.")

    @classmethod
    def other_interpretations(cls, forms: LabelForms, counts: Mapping[str, int], column: str) -> list[str]:
        if len(counts) <= MAX_WHOLE_NUMBER_CLASSES:
            return [
                f"Column '{column}' holds only {len(counts)} distinct numbers, read as scores because some have a "
                "fraction. If they are classes, set --task single_label."
            ]
        if not forms.has_fractions:
            return [
                f"Column '{column}' holds whole numbers stored as floats, read as scores because there are more than "
                f"{MAX_WHOLE_NUMBER_CLASSES} distinct values. If they are classes, set --task single_label."
            ]
        return []

    @classmethod
    def column_type(cls) -> pa.DataType:
        import pyarrow as pa

        return pa.float64()

    def label_array(self, values: Sequence[Any]) -> NDArray[np.float32]:
        return np.asarray(values, dtype=np.float32)

    def missing_labels(self, num_rows: int) -> NDArray[np.float32]:
        return np.full(num_rows, math.nan, dtype=np.float32)

    def probabilities(self, logits: Floats) -> Floats:
        """Return the predicted scores, [num_rows, 1]."""
        return logits.astype(np.float64)

    def predicted_labels(self, logits: Floats) -> Floats:
        """Return the predicted scores, [num_rows]."""
        return logits[:, 0]

    def compute_metrics(self, logits: Floats, labels: Array) -> dict[str, float]:
        """Return Pearson and Spearman correlation and mean squared error."""
        from scipy.stats import pearsonr, spearmanr

        outputs, scores = (np.asarray(values, dtype=np.float64) for values in (logits[:, 0], labels))
        varies = len(scores) > 1 and np.ptp(outputs) > 0 and np.ptp(scores) > 0  # otherwise, correlations are undefined
        return {
            "pearson": float(pearsonr(outputs, scores).statistic) if varies else math.nan,
            "spearman": float(spearmanr(outputs, scores).statistic) if varies else math.nan,
            "mse": float(np.square(outputs - scores).mean()),
        }

    def label_name_column(self, labels: Array) -> None:
        """Return None: scores have no names."""

    def describe_label(self, label: Any) -> str:
        return f"{float(label):.4g}"

    def mistake_severity(self, labels: Array, predicted: Array, logits: Floats) -> Array:
        """Return the distance between score and prediction, [num_rows]."""
        return self.correctness(labels, predicted)

    @classmethod
    def correctness(cls, labels: Array, predicted: Array) -> Array:
        """Return the distance between score and prediction."""
        return np.asarray(np.abs(predicted - labels))

    @classmethod
    def describe_correctness(cls, mean: float, num_models: int) -> str:
        return f"off by {mean:.3g}"
