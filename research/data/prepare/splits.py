"""Assign rows to splits: stratified, reproducible, and without the same text in two splits."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from research.data.sources.split_names import SPLIT_NAMES, TRAIN

Integers = NDArray[np.int64]
Strata = NDArray[np.int32]
Hashes = NDArray[np.uint64]
Item = TypeVar("Item", bound=np.generic)

_TIE_BREAKS = 1
"""Appended to the seed, so that ties are broken by different random numbers from those that choose the rows."""


def bin_scores(scores: NDArray[np.float64], num_bins: int = 10) -> Strata:
    """Return the quantile bin of each score, which is the stratum of its row, [num_rows]."""
    inner_edges = np.quantile(scores, np.linspace(0, 1, num_bins + 1)[1:-1])
    return np.searchsorted(inner_edges, scores, side="right").astype(np.int32)


def allocate(total: int, sizes: NDArray[Any], seed: int) -> Integers:
    """Divide `total` rows among strata in proportion to their sizes, by the largest remainder method.

    Args:
        total: number of rows to divide.
        sizes: number of rows in each stratum, or any other weight of it, [num_strata].
        seed: breaks ties between equal remainders. If ties were broken by position, labels late in the alphabet would
            be missing from every small sample.
    Returns:
        Number of rows for each stratum, [num_strata].
    """
    exact = total * sizes / max(sizes.sum(), 1)
    allocated = np.floor(exact).astype(np.int64)
    num_remaining = total - int(allocated.sum())
    tie_breaks = np.random.default_rng((seed, _TIE_BREAKS)).random(len(sizes))
    allocated[np.lexsort((tie_breaks, allocated - exact))[:num_remaining]] += 1
    return allocated


def sample(strata: Strata, limit: int, seed: int) -> Integers:
    """Return the ascending row numbers of a stratified sample of at most `limit` rows.

    Args:
        strata: stratum of each row, [num_rows].
        limit: maximum number of rows.
        seed: seed of the random choice.
    """
    if limit >= len(strata):
        return np.arange(len(strata))
    _, stratum_of_row, sizes = index_distinct(strata)
    order = np.random.default_rng(seed).permutation(len(strata))
    order = order[np.argsort(stratum_of_row[order], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    rank_in_stratum = np.arange(len(strata)) - np.repeat(starts, sizes)
    chosen: Integers = np.sort(order[rank_in_stratum < np.repeat(allocate(limit, sizes, seed), sizes)])
    return chosen


def carve(
    hashes: Hashes,
    strata: Strata,
    shares: dict[int, float],
    seed: int,
    existing: Hashes,
    *,
    top_up: bool = False,
) -> NDArray[np.int8]:
    """Decide which of the training rows become validation or test rows.

    Rows with the same text are moved together; so are rows of one group, if `join_units` made the hashes. If such rows
    are in different strata, all of them count as rows of the smallest of these strata. At least one text of every
    stratum stays in train, and so does every text that occurs in an existing split.

    Args:
        hashes: hash of each row's text, [num_rows].
        strata: stratum of each row, [num_rows].
        shares: share of the rows to move to each missing split, by the number of the split (VALIDATION or TEST).
        seed: seed of the random choice.
        existing: hashes of the texts in the existing validation or test split.
        top_up: if a split has fewer rows than its share, because many rows have the same hash, add texts of any
            stratum.
    Returns:
        TRAIN, VALIDATION or TEST for each row, [num_rows].
    Raises:
        ValueError: if a split would be empty.
    """
    text_hashes, text_of_row, num_copies = index_distinct(hashes)
    _, stratum_of_row, sizes = index_distinct(strata)
    # `stratum_of_text` numbers strata by size, so that the minimum over the rows with a text is the smallest stratum.
    by_size = np.argsort(sizes, kind="stable")
    rank_of_stratum = np.empty(len(sizes), dtype=np.int32)
    rank_of_stratum[by_size] = np.arange(len(sizes))
    stratum_of_text = np.full(len(text_hashes), len(sizes), dtype=np.int32)
    np.minimum.at(stratum_of_text, text_of_row, rank_of_stratum[stratum_of_row])
    del stratum_of_row

    num_texts = len(text_hashes)
    split_of_text = np.full(num_texts, TRAIN, dtype=np.int8)
    free = ~np.isin(text_hashes, existing)
    del text_hashes
    order = np.arange(num_texts, dtype=np.int32)
    np.random.default_rng(seed).shuffle(order)
    texts_by_stratum = _split_by(stratum_of_text[order], order, len(sizes))
    del order, stratum_of_text
    rows_per_stratum = np.array([num_copies[texts].sum() for texts in texts_by_stratum], dtype=np.int64)
    for split in sorted(shares, reverse=True):
        if not shares[split]:
            raise ValueError(
                f"There is no {SPLIT_NAMES[split]} split, and --{SPLIT_NAMES[split]}_share is 0. "
                f"Increase --{SPLIT_NAMES[split]}_share, or provide a file for the split."
            )
        movable_texts = [_find_movable(texts[split_of_text[texts] == TRAIN], free) for texts in texts_by_stratum]
        has_movable = np.array([len(movable) > 0 for movable in movable_texts])
        num_wanted = max(round(shares[split] * len(hashes)), 1)
        targets = allocate(num_wanted, rows_per_stratum * has_movable, seed)
        for movable, target in zip(movable_texts, targets, strict=True):
            # Move the first texts whose rows do not exceed the target in total.
            fitting = movable[num_copies[movable] <= target]
            split_of_text[fitting[np.cumsum(num_copies[fitting]) <= target]] = split
        if top_up:
            num_missing = num_wanted - num_copies[split_of_text == split].sum()
            for text in np.random.default_rng((seed, split)).permutation(np.concatenate(movable_texts)):
                if split_of_text[text] == TRAIN and num_copies[text] <= num_missing:
                    split_of_text[text] = split
                    num_missing -= num_copies[text]
        if not (split_of_text == split).any():
            reason = (
                f", because each of {len(sizes):,} labels must keep one text" if len(sizes) > len(hashes) / 2 else ""
            )
            raise ValueError(
                f"{len(hashes)} training rows with {num_texts} different texts or groups are too few to carve out a "
                f"{SPLIT_NAMES[split]} split with a share of {shares[split]}{reason}. "
                f"Increase --{SPLIT_NAMES[split]}_share, or provide a file for the split."
            )
    return split_of_text[text_of_row]


def _find_movable(texts: NDArray[np.int32], free: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the texts that can be moved from train to another split.

    These are the free texts of the stratum, but at least one text of the stratum must stay in train.

    Args:
        texts: indices of the texts of one stratum that are in train.
        free: whether each text is free, which means that it occurs in no existing split, [num_texts].
    """
    movable = texts[free[texts]]
    return movable[1:] if len(movable) == len(texts) else movable


def index_distinct(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.int32]]:
    """Return the distinct values, each row's index into these values, and the number of rows with each of them.

    numpy.unique can return the same arrays but needs several times as much memory.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(values)]  # of the rows with each value
    distinct = ordered[is_first]
    del ordered
    position = np.empty(len(values), dtype=np.int32)
    position[order] = np.cumsum(is_first, dtype=np.int32) - 1
    del order
    return distinct, position, np.diff(np.flatnonzero(np.append(is_first, True))).astype(np.int32)


def _split_by(keys: Strata, values: NDArray[Item], num_keys: int) -> list[NDArray[Item]]:
    """Return one array for each key from 0 to `num_keys - 1`: the values with this key, in their original order."""
    order = np.argsort(keys, kind="stable")
    return np.split(values[order], np.searchsorted(keys[order], np.arange(1, num_keys)))
