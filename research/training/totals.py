"""What a run adds up over its steps, and continues to add up when it is resumed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Totals:
    """Sums over all steps."""

    num_skipped: int = 0
    """Steps in which the optimizer left the parameters as they were."""
    train_seconds: float = 0.0
    """Time spent in steps, evaluations and hooks excluded."""
