"""Seeds made of several numbers."""

from __future__ import annotations

import numpy as np


def derived_seed(*numbers: int) -> int:
    """Return a seed that depends on each of some numbers, and on their order."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
