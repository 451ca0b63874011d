"""Names and numbers of the three splits, and the names that data sets give them."""

from __future__ import annotations

from collections.abc import Sequence

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLIT_NAMES = ("train", "validation", "test")
"""By number."""
SPLIT_OF_STEM = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def choose_splits(spec: str, names: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return which split each named part of a data set is, and what to report.

    Args:
        spec: what messages call the data set.
        names: of its parts.
    Raises:
        ValueError: if two parts are the same split, or none is for training.
    """
    splits: dict[str, str] = {}
    for name in names:
        split = SPLIT_OF_STEM.get(name)
        if split is not None and split in splits.values():
            raise ValueError(f"'{spec}' has more than one {split} split: {', '.join(names)}.")
        if split is not None:
            splits[name] = split
    if "train" not in splits.values():
        raise ValueError(f"'{spec}' has no train split; it has {', '.join(names)}.")
    unused = [name for name in names if name not in splits]
    return splits, (f"Splits of {spec} that are not used: {', '.join(unused)}.",) if unused else ()
