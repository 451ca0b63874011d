"""What pairs the trials of two arms: the seed or, with folds, the seed and the fold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class SeedAndFold(NamedTuple):
    """A seed and the fold whose rows are the test rows."""

    seed: int
    """Seed of the run, which also determines the division into folds."""
    fold: int
    """Number of the fold, from 0."""

    def __str__(self) -> str:
        return f"{self.seed} (fold {self.fold})"


Unit = int | SeedAndFold
"""A seed, or a seed and a fold. Written after the word seed, both are clear: seed 3, seed 3 (fold 0)."""


def count_seeds(units: Iterable[Unit]) -> int:
    """Return the number of different seeds."""
    return len({unit.seed if isinstance(unit, SeedAndFold) else unit for unit in units})
