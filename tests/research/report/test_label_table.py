"""The table of precision, recall and F1 per label."""

from __future__ import annotations

import numpy as np

from research.records.many_labels import MANY_LABELS
from research.report.label_table import MAX_SHOWN, build_label_table
from research.report.mistakes import LabelledPredictions
from tests.research.report.labels import task_with_labels


def without_logits(labels: np.ndarray, predicted: np.ndarray) -> LabelledPredictions:
    """Return predictions without logits, which the table does not use."""
    return LabelledPredictions(np.arange(len(labels)), labels, predicted, logits=np.empty((len(labels), 0)))


def test_long_label_table_starts_with_the_labels_of_lowest_f1() -> None:
    num_labels = MANY_LABELS + 5
    labels = np.arange(num_labels).repeat(2)[:-2]  # two rows per label, but none of the last label
    predicted = labels.copy()
    predicted[[20, 21]] = 0  # both rows of label 10, so its F1 is 0; label 0, predicted too often, has 0.57
    predicted[40] = 0  # one row of label 20: recall 0.5 and F1 0.67; F1 is 1 for all other labels with rows
    table = build_label_table(task_with_labels(num_labels), without_logits(labels, predicted))
    assert (table.is_long, table.num_labels) == (True, num_labels)
    names = [row.name for row in table.labels]
    assert names[:3] == ["label 10", "label 0", "label 20"]
    assert names[-1] == f"label {num_labels - 1}"
    # Label 0 is predicted for 5 rows, 2 of which have it.
    assert (table.labels[1].precision, table.labels[1].recall, table.labels[1].num_rows) == (0.4, 1.0, 2)


def test_label_table_is_limited_to_max_shown() -> None:
    labels = np.arange(2 * MAX_SHOWN)
    table = build_label_table(task_with_labels(len(labels)), without_logits(labels, labels))
    assert (len(table.labels), table.num_labels) == (MAX_SHOWN, 2 * MAX_SHOWN)
