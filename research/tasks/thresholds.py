"""Choose the probability above which a label is predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_THRESHOLD = 0.5
CRITERION = "f1, precision=<target> or recall=<target>"
"""The forms of a criterion."""


@dataclass(frozen=True)
class Criterion:
    """What thresholds are chosen for."""

    name: str
    """f1: the highest F1. precision: the highest recall with at least the target precision. recall: the highest
    precision with at least the target recall."""
    target: float | None = None
    """Lowest precision or recall; None for f1."""

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """Parse `f1`, `precision=0.9` or `recall=0.9`.

        Raises:
            ValueError: if the text has none of these forms.
        """
        name, _, target = text.partition("=")
        try:
            value = float(target) if target else None
        except ValueError:
            value = math.nan
        is_valid = value is None if name == "f1" else name in ("precision", "recall") and value is not None
        if not is_valid or (value is not None and not 0 < value <= 1):
            raise ValueError(
                f"Expected thresholds to be {CRITERION}, with a target above 0 and at most 1; got '{text}'."
            )
        return cls(name, value)

    def __str__(self) -> str:
        return self.name if self.target is None else f"{self.name}={self.target:g}"


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of all labels."""

    values: tuple[float, ...]
    """Probability above which each label is predicted, [num_labels]."""
    fallbacks: Mapping[str, str]
    """Reason for each label, by name, whose threshold does not meet the criterion."""


def choose_threshold(
    criterion: Criterion, probabilities: NDArray[np.floating[Any]], has_label: NDArray[np.bool_]
) -> tuple[float, str | None]:
    """Return the best threshold of a label, and the reason if it does not meet the criterion.

    If no row has the label, the threshold is 0.5. If no threshold reaches the target precision, it is the one with the
    highest precision.

    Args:
        criterion: what the threshold is chosen for.
        probabilities: predicted probability of the label, [num_rows].
        has_label: whether each row has the label, [num_rows].
    """
    num_present = int(has_label.sum())
    if not num_present:
        return DEFAULT_THRESHOLD, f"no row has the label, so its threshold is {DEFAULT_THRESHOLD}"
    order = np.argsort(-probabilities, kind="stable")
    ordered = np.append(probabilities[order], 0.0)
    # The possible numbers of predicted rows: rows with the same probability are predicted together.
    num_predicted = np.flatnonzero(np.diff(ordered)) + 1
    num_correct = np.cumsum(has_label[order])[num_predicted - 1]
    precision, recall = num_correct / num_predicted, num_correct / num_present
    reason = None
    # The last key takes precedence; among equals, the first cut has the highest threshold.
    if criterion.target is None:
        best = np.argmax(2 * num_correct / (num_predicted + num_present))
    else:
        wanted, other = (precision, recall) if criterion.name == "precision" else (recall, precision)
        reached = wanted >= criterion.target
        if reached.any():
            best = np.lexsort((-wanted, -other, ~reached))[0]
        else:
            best = np.lexsort((-other, -wanted))[0]
            reason = f"its highest {criterion.name} is {wanted[best]:.4f}"
    cut = num_predicted[best]
    return _shortest_between(float(ordered[cut]), float(ordered[cut - 1])), reason


def _shortest_between(low: float, high: float) -> float:
    """Return the number with the fewest decimals between two numbers.

    All thresholds between the same two probabilities give the same predictions. A short number does not depend on the
    rounding errors of the probabilities.
    """
    middle = (low + high) / 2
    for num_decimals in range(1, 17):
        number = round(middle, num_decimals)
        if low < number < high:
            return number
    return middle
