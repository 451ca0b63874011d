"""Rows that are pasted into the page, and their predictions as a table."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from research.inference.saved_model import SavedModel


def parse_rows(pasted: str, *, has_pairs: bool) -> list[tuple[str, ...]]:
    """Return the rows of a pasted text, one per line. Blank lines are skipped.

    Args:
        pasted: the text.
        has_pairs: whether each line holds two texts, separated by a tab.
    Raises:
        ValueError: if there are no rows, or a line of pairs does not hold two texts.
    """
    rows: list[tuple[str, ...]] = []
    # Not str.splitlines, which also splits at characters that spreadsheets and word processors put inside a text.
    for number, line in enumerate(io.StringIO(pasted, newline=None), 1):
        if not line.strip():
            continue
        text = line.removesuffix("\n")
        row = tuple(text.split("\t")) if has_pairs else (text,)
        if has_pairs and len(row) != 2:
            raise ValueError(f"Expected two texts separated by a tab in line {number}; found {len(row)}.")
        rows.append(row)
    if not rows:
        raise ValueError("Paste at least one row, then predict again.")
    return rows


def predict_rows(saved: SavedModel, rows: list[tuple[str, ...]]) -> pd.DataFrame:
    """Return the predictions for rows, as `SavedModel.predict` does."""
    return saved.predict([(row[0], row[1]) for row in rows] if saved.inputs.has_pairs else [row[0] for row in rows])
