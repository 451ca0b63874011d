"""Errors for losses, gradients and logits that are not finite."""

from __future__ import annotations

from collections.abc import Sequence

NUM_ROWS_SHOWN = 10
"""Maximum number of rows listed in a message."""


class NonFiniteError(ValueError):
    """A loss, a gradient or a logit is not finite."""


def describe_nonfinite(split: str, step: int, ids: Sequence[int], num_rows: int) -> str:
    """Return a message about an evaluation whose logits or losses are not finite, without a final period.

    Args:
        split: the evaluated split.
        step: steps taken.
        ids: ids of the rows whose logits or losses are not finite.
        num_rows: number of rows in the split.
    """
    shown = ", ".join(map(str, ids[:NUM_ROWS_SHOWN])) + (", ..." if len(ids) > NUM_ROWS_SHOWN else "")
    return (
        f"Evaluation of {split} after step {step}: logits or losses of {len(ids):,} of {num_rows:,} rows are not "
        f"finite (rows {shown}, counted from 0)"
    )
