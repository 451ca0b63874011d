"""Make rows with given labels, and return the labels of loaded rows."""

from __future__ import annotations

from typing import Any

from research.data.prepare.load import Splits


def labels_of(splits: Splits) -> dict[str, Any]:
    """Return the label of each row by the row's number, which is the last word of its text."""
    return {row["text"].split()[-1]: row["label"] for _, split in splits.items() for row in split}


def rows_with(*labels: Any) -> list[dict[str, Any]]:
    """Return 20 rows per label; text 0 has the first label."""
    return [{"text": f"text {row}", "label": labels[row % len(labels)]} for row in range(20 * len(labels))]
