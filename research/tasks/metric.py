"""Description of a metric: its name, its bounds and its direction. Tasks compute the values."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Bounds of the values of metrics.
FRACTION = (0.0, 1.0)
CORRELATION = (-1.0, 1.0)
NOT_NEGATIVE = (0.0, math.inf)
ANY_NUMBER = (-math.inf, math.inf)


@dataclass(frozen=True)
class Metric:
    """A measure of the quality of predictions."""

    name: str
    """Name in metrics.jsonl and --best_metric; for `Task.label_metric`, the beginning of the name."""
    bounds: tuple[float, float]
    """Smallest and largest possible value."""
    lower_is_better: bool = False
    """Whether lower values are better, as for an error."""


LOSS = Metric("loss", ANY_NUMBER, lower_is_better=True)
"""Mean loss of the objective, available for every task. The loss of a user-defined objective may be negative."""
