"""Sums over the steps of a run, continued when the run is resumed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Totals:
    """Sums over all steps taken."""

    num_skipped: int = 0
    """Number of steps whose optimizer update was skipped."""
    train_seconds: float = 0.0
    """Sum of the steps' times, in seconds; evaluations are excluded."""
