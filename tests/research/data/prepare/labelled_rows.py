"""Make rows with given labels, and return the labels of loaded rows."""

from __future__ import annotations

from typing import Any

from research.data.prepare.load import Splits


def labels_by_row_number(splits: Splits) -> dict[int, Any]:
    """Return the label of each row of all splits, by the row number that is the last word of the row's text."""
    return {int(row["text"].split()[-1]): row["label"] for _, split in splits.items() for row in split}


def rows_with_labels(*labels: Any) -> list[dict[str, Any]]:
    """Return 20 rows per label. The labels rotate, so that `text 0` has the first label and `text 1` the second."""
    return [{"text": f"text {row}", "label": labels[row % len(labels)]} for row in range(20 * len(labels))]
