"""Deal the training rows into the folds of a cross-validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from research.data.prepare.splits import Hashes, Strata, index_distinct
from research.system.messages import logger

NO_FOLD = -1
"""Stands for the fold of rows that are training rows in all folds."""
LARGEST_RATIO = 1.5
"""A warning is printed if the largest fold has more than this number of times the mean number of rows."""


def deal_folds(units: Hashes, strata: Strata, num_folds: int, seed: int, existing: Hashes) -> NDArray[np.int64]:
    """Return the fold in which each row is a test row, [num_rows].

    A unit is all rows with the same text or, if rows have groups, all rows that `join_units` connects. It is never
    divided. Folds have about the same number of rows in total, and of each stratum. Units of several rows are dealt
    first, each to the fold that has the smallest share of the unit's strata so far. Of two such units, the one that is
    at least twice as large comes first; otherwise their order is random, so that each seed makes other folds. Single
    rows then fill the folds up.

    Args:
        units: unit of each row, [num_rows].
        strata: stratum of each row, [num_rows].
        num_folds: number of folds.
        seed: seed of the random order of the units.
        existing: units that also occur in the validation split of the data. Their rows are in no fold.
    Raises:
        ValueError: if a fold would be empty.
    """
    distinct, unit_of_row, sizes = index_distinct(units)
    _, stratum_of_row, stratum_sizes = index_distinct(strata)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(distinct))
    order = order[~np.isin(distinct[order], existing)]
    rows_by_unit = np.split(np.argsort(unit_of_row, kind="stable"), np.cumsum(sizes)[:-1])
    fold_of_unit = np.full(len(distinct), NO_FOLD, dtype=np.int64)
    num_dealt = np.zeros((num_folds, len(stratum_sizes)), dtype=np.int64)  # rows of each stratum in each fold
    several = order[sizes[order] > 1]
    # A random factor of less than 2 changes the order of units of similar size only.
    noisy_sizes = sizes[several] * 2 ** generator.random(len(several))
    for unit in several[np.argsort(-noisy_sizes, kind="stable")]:
        rows_by_stratum = np.bincount(stratum_of_row[rows_by_unit[unit]], minlength=len(stratum_sizes))
        # The least increase of the sum of squared shares, over the strata and for all rows together.
        load = num_dealt / stratum_sizes @ rows_by_stratum + num_dealt.sum(axis=1) * sizes[unit] / len(units)
        fold = int(load.argmin())
        fold_of_unit[unit] = fold
        num_dealt[fold] += rows_by_stratum
    single = order[sizes[order] == 1]
    stratum_of_single = stratum_of_row[[rows_by_unit[unit][0] for unit in single]]
    for stratum in range(len(stratum_sizes)):
        members = single[stratum_of_single == stratum]
        # Row i of a fold is number `num_dealt + i` of its stratum there. The lowest numbers are dealt first; of equal
        # numbers, those of the smallest fold.
        by_size = np.argsort(num_dealt.sum(axis=1), kind="stable")
        numbers = np.arange(len(members))[:, None] + num_dealt[by_size, stratum]
        places = np.argsort(numbers, axis=None, kind="stable")[: len(members)]
        folds = by_size[places % num_folds]
        fold_of_unit[members] = folds
        num_dealt[:, stratum] += np.bincount(folds, minlength=num_folds)
    if (num_dealt.sum(axis=1) == 0).any():
        raise ValueError(
            f"{len(units):,} training rows with {len(distinct):,} different texts or groups are too few for "
            f"{num_folds} folds. Use fewer --folds."
        )
    return fold_of_unit[unit_of_row]


def warn_if_unequal(fold_of_row: NDArray[np.int64]) -> None:
    """Warn if folds have very different numbers of rows, because large groups cannot be divided.

    Args:
        fold_of_row: fold of each row, or NO_FOLD, [num_rows].
    """
    counts = np.bincount(fold_of_row[fold_of_row != NO_FOLD])
    if counts.max() > LARGEST_RATIO * counts.mean():
        logger.warning(
            f"the folds have between {counts.min():,} and {counts.max():,} rows, because rows of one group, or with "
            "the same text, cannot be divided. The test of a study assumes folds of equal size; use fewer --folds."
        )
