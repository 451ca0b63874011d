"""Derive seeds from several numbers."""

from __future__ import annotations

import numpy as np


def derive_seed(*numbers: int) -> int:
    """Return a seed derived from several numbers below 2**32; their order matters.

    Fewer than four numbers are padded with zeros: (1), (1, 0) and (1, 0, 0) give the same seed. To be sure that seeds
    differ, derive all of them from equally many numbers.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
