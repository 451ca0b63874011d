"""Conditions of a timeline's `when:`, checked after every evaluation of the validation split."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from heads.registry import Registry
from research.tasks.metric_names import is_better

Predicate = Callable[..., bool]
CONDITIONS: Registry[Predicate] = Registry("condition")


@CONDITIONS.register("plateau")
def plateau(metric: str, values: list[float], patience: float) -> bool:
    """Return whether the metric has not improved in the last `patience` evaluations."""
    best, num_without_improvement = None, 0
    for value in values:
        if is_better(metric, value, best):
            best, num_without_improvement = value, 0
        else:
            num_without_improvement += 1
    return num_without_improvement >= patience


@CONDITIONS.register("above")
def above(metric: str, values: list[float], threshold: float) -> bool:
    """Return whether the latest value is above a threshold."""
    return values[-1] > threshold


@CONDITIONS.register("below")
def below(metric: str, values: list[float], threshold: float) -> bool:
    """Return whether the latest value is below a threshold."""
    return values[-1] < threshold


@dataclass
class Condition:
    """A condition such as `plateau(validation/loss, 3)`. It comes true at most once."""

    name: str
    """Registered name."""
    metric: str
    """Name of a validation metric, without `validation/`."""
    number: float
    """The threshold; for a plateau, the number of evaluations."""
    values: list[float] = field(default_factory=list)
    """The metric's values so far."""
    has_come_true: bool = False
    """Whether the condition has come true."""

    @property
    def num_evaluations_needed(self) -> int:
        """Number of evaluations after which the condition can come true at the earliest."""
        return int(self.number) + 1 if self.name == "plateau" else 1

    def observe(self, metrics: dict[str, float]) -> bool:
        """Add the metrics of an evaluation, and return whether the condition comes true with them."""
        if self.has_come_true:
            return False
        self.values.append(metrics[self.metric])
        self.has_come_true = CONDITIONS[self.name](self.metric, self.values, self.number)
        return self.has_come_true

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {"values": self.values, "has_come_true": self.has_come_true}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.values, self.has_come_true = list(state["values"]), state["has_come_true"]

    def __str__(self) -> str:
        return f"{self.name}(validation/{self.metric}, {self.number:g})"


def parse_condition(text: str) -> Condition:
    """Parse a condition.

    Raises:
        ValueError: if the text is not a known condition with a validation metric and a number.
    """
    match = re.fullmatch(r"\s*(\w+)\(\s*validation/([\w/ .-]+?)\s*,\s*([-+.\deE]+)\s*\)\s*", str(text))
    if match is None:
        raise ValueError(
            f"Expected a condition such as plateau(validation/loss, 3), got '{text}'. Conditions: "
            f"{', '.join(CONDITIONS)}."
        )
    _ = CONDITIONS[match[1]]  # raises an error if the condition is unknown
    try:
        number = float(match[3])
    except ValueError:
        raise ValueError(f"Expected a number after the comma in '{text}', got '{match[3]}'.") from None
    if match[1] == "plateau" and (number < 1 or not number.is_integer()):
        raise ValueError(f"Expected a number of evaluations (an integer above 0) after the comma in '{text}'.")
    return Condition(match[1], match[2], number)
