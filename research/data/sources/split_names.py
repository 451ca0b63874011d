"""Names and numbers of the three splits, and the names that data sets use for them."""

from __future__ import annotations

from collections.abc import Sequence

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Numbers of the splits."""
SPLIT_NAMES = ("train", "validation", "test")
"""Names of the splits, indexed by their numbers."""
SPLIT_OF_STEM = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""Split for each name that data sets use."""


def choose_splits(spec: str, names: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the split that each named part of a data set belongs to, and messages to log.

    Args:
        spec: name of the data set in messages.
        names: names of the parts.
    Raises:
        ValueError: if two parts belong to the same split, or no part is a training split.
    """
    splits: dict[str, str] = {}
    for name in names:
        split = SPLIT_OF_STEM.get(name)
        if split is not None and split in splits.values():
            raise ValueError(f"'{spec}' has more than one {split} split: {', '.join(names)}.")
        if split is not None:
            splits[name] = split
    if "train" not in splits.values():
        found = ", ".join(names) or "no splits"
        raise ValueError(f"'{spec}' has no train split; expected a split named train or training, found {found}.")
    unused = [name for name in names if name not in splits]
    return splits, (f"Unused splits of {spec}: {', '.join(unused)}.",) if unused else ()
