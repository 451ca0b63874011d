"""Area under the ROC curve, averaged over labels (one versus rest)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 2**24
"""Maximum size of a block of scores, in bytes."""


def mean_auroc(
    scores_of_block: Callable[[slice], NDArray[Any]], labels: NDArray[np.bool_] | NDArray[np.integer[Any]]
) -> float:
    """Return the mean area over the labels that some rows have and other rows lack; NaN if there are no such labels.

    Scores are computed for a block of labels at a time, so that memory use does not grow with the number of labels.

    Args:
        scores_of_block: returns the scores of the labels whose codes are in a slice, [num_rows, labels of the slice].
        labels: the label code of each row, [num_rows], or a mask of each row's labels, [num_rows, num_labels].
    """
    num_rows = len(labels)
    if labels.ndim == 1:
        present = np.unique(labels)
        order = np.argsort(labels, kind="stable")
        rows_of = dict(zip(present.tolist(), np.split(order, np.searchsorted(labels[order], present[1:])), strict=True))
    else:
        rows_of = {code: np.flatnonzero(labels[:, code]) for code in range(labels.shape[1])}
    rows_of = {label: rows for label, rows in rows_of.items() if 0 < len(rows) < num_rows}
    if not rows_of:
        return float("nan")
    labels_per_block = max(1, BLOCK_BYTES // (8 * num_rows))  # a score has 8 bytes
    areas = []
    for start in range(0, max(rows_of) + 1, labels_per_block):
        block_labels = [label for label in range(start, start + labels_per_block) if label in rows_of]
        if block_labels:
            scores = np.ascontiguousarray(scores_of_block(slice(start, block_labels[-1] + 1)).T)
            areas += [_area(scores[label - start], rows_of[label]) for label in block_labels]
    return float(np.mean(areas))


def _area(scores: NDArray[Any], positive: NDArray[np.integer[Any]]) -> float:
    """Return the share of pairs of a positive and a negative row in which the positive row has the higher score.

    Ties count as one half (Mann-Whitney U). Pairs are counted in integers, so only the division is rounded.

    Args:
        scores: score of each row, [num_rows].
        positive: indices of the positive rows.
    """
    all_scores, positive_scores = np.sort(scores), np.sort(scores[positive])
    # "left" counts the negative rows with a lower score; "right" counts those with an equal score too.
    twice_below = sum(
        int(
            np.searchsorted(all_scores, positive_scores, side).sum()
            - np.searchsorted(positive_scores, positive_scores, side).sum()
        )
        for side in ("left", "right")
    )
    return twice_below / (2 * len(positive_scores) * (len(scores) - len(positive_scores)))
