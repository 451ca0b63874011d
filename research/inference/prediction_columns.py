"""The columns of a table of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from research.tasks.base import Floats, Task

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTION = "prediction"
"""Column of the predicted label's name, the list of the predicted labels' names, or the predicted score."""


def prediction_names(task: Task) -> list[str]:
    """Return the names of the columns that `prediction_columns` returns."""
    return [PREDICTION, *([] if task.labels_are_numbers else [f"score_{name}" for name in task.label_names])]


def prediction_columns(task: Task, logits: Floats) -> dict[str, pa.Array]:
    """Return `prediction` and, unless labels are numbers, `score_<label name>` for each label: its probability.

    Args:
        task: the task, with its label names and thresholds.
        logits: logits of the rows, [num_rows, num_labels].
    """
    import pyarrow as pa

    predicted = task.predicted_labels(logits)
    names = task.label_name_column(predicted)
    prediction = pa.array(predicted) if names is None else names
    if task.labels_are_numbers:
        return {PREDICTION: prediction}
    probabilities = task.probabilities(logits)
    scores = {f"score_{name}": pa.array(probabilities[:, index]) for index, name in enumerate(task.label_names)}
    return {PREDICTION: prediction, **scores}
