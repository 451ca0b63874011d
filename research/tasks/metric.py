"""A metric as a fact: its name, its bounds, and which way it is better. Nothing is computed here."""

from __future__ import annotations

import math
from dataclasses import dataclass

FRACTION = (0.0, 1.0)
CORRELATION = (-1.0, 1.0)
NOT_NEGATIVE = (0.0, math.inf)
ANY_NUMBER = (-math.inf, math.inf)


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are."""

    name: str
    """As in metrics.jsonl and --best_metric."""
    bounds: tuple[float, float]
    """Its least and its largest value."""
    lower_is_better: bool = False
    """Whether it is an error rather than a merit."""


LOSS = Metric("loss", ANY_NUMBER, lower_is_better=True)
"""The mean of the objective's losses, which every task has; an objective of a user's own may be negative."""
