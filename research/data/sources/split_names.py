"""Names and numbers of the three splits, and the names that data sets use for them."""

from __future__ import annotations

from collections.abc import Sequence

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Numbers of the splits."""
SPLIT_NAMES = ("train", "validation", "test")
"""Names of the splits, indexed by their numbers."""
SPLIT_OF_NAME = {
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
    """Return the split for each part of a data set that has a known name, such as dev, and messages to log.

    Args:
        spec: name of the data set in messages.
        names: names of the parts, which data sets call splits too.
    Raises:
        ValueError: if two parts are the same split, or no part is the training split.
    """
    split_of_part: dict[str, str] = {}
    for name in names:
        split = SPLIT_OF_NAME.get(name)
        if split is not None and split in split_of_part.values():
            parts = [other for other in names if SPLIT_OF_NAME.get(other) == split]
            raise ValueError(f"'{spec}' has more than one {split} split: {', '.join(parts)}.")
        if split is not None:
            split_of_part[name] = split
    if "train" not in split_of_part.values():
        found = ", ".join(names) or "no splits"
        raise ValueError(f"'{spec}' has no train split; expected a split named train or training, found {found}.")
    unused = [name for name in names if name not in split_of_part]
    return split_of_part, (f"Unused splits of {spec}: {', '.join(unused)}.",) if unused else ()
