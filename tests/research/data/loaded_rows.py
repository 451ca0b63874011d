"""Return the rows of loaded splits in forms that tests can compare."""

from __future__ import annotations

from research.data.prepare.load import Splits


def texts_in(splits: Splits) -> set[str]:
    """Return the set of all texts in all splits."""
    return {text for _, split in splits.items() for text in split["text"]}


def rows_in(splits: Splits) -> list[tuple[str, object]]:
    """Return the text and label of the rows of all splits, sorted."""
    return sorted((row["text"], row["label"]) for _, split in splits.items() for row in split)


def rows_by_split(splits: Splits) -> dict[str, list[tuple[str, int]]]:
    """Return the text and label of the rows of each split, in order."""
    return {name: [(row["text"], row["label"]) for row in split] for name, split in splits.items()}
