"""Conditions of a timeline's `when:`, asked after every evaluation on the validation split."""

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
    """Return whether the last `patience` evaluations brought no better value."""
    best, since = None, 0
    for value in values:
        if is_better(metric, value, best):
            best, since = value, 0
        else:
            since += 1
    return since >= patience


@CONDITIONS.register("above")
def above(metric: str, values: list[float], threshold: float) -> bool:
    """Return whether the last value is above a threshold."""
    return values[-1] > threshold


@CONDITIONS.register("below")
def below(metric: str, values: list[float], threshold: float) -> bool:
    """Return whether the last value is below a threshold."""
    return values[-1] < threshold


@dataclass
class Condition:
    """Something that becomes true once, as `plateau(validation/loss, 3)`."""

    name: str
    """Registered name."""
    metric: str
    """Name of a validation metric, without `validation/`."""
    number: float
    """What the metric is held against."""
    values: list[float] = field(default_factory=list)
    """The metric's values so far."""
    has_come_true: bool = False
    """Whether it was true already."""

    @property
    def num_evaluations_needed(self) -> int:
        """How many evaluations it takes at least."""
        return int(self.number) + 1 if self.name == "plateau" else 1

    def observe(self, metrics: dict[str, float]) -> bool:
        """Take the metrics of an evaluation, and return whether the condition comes true with them."""
        if self.has_come_true:
            return False
        self.values.append(metrics[self.metric])
        self.has_come_true = CONDITIONS[self.name](self.metric, self.values, self.number)
        return self.has_come_true

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {"values": self.values, "has_come_true": self.has_come_true}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.values, self.has_come_true = list(state["values"]), state["has_come_true"]

    def __str__(self) -> str:
        return f"{self.name}(validation/{self.metric}, {self.number:g})"


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        ValueError: if it is no known condition with a validation metric and a number.
    """
    found = re.fullmatch(r"\s*(\w+)\(\s*validation/([\w/ .-]+?)\s*,\s*([-+.\deE]+)\s*\)\s*", str(text))
    if found is None:
        raise ValueError(
            f"Cannot read the condition '{text}': write one such as plateau(validation/loss, 3). Conditions: "
            f"{', '.join(CONDITIONS)}."
        )
    _ = CONDITIONS[found[1]]
    try:
        number = float(found[3])
    except ValueError:
        raise ValueError(f"Expected a number after the comma of '{text}', got '{found[3]}'.") from None
    if found[1] == "plateau" and (number < 1 or not number.is_integer()):
        raise ValueError(f"Expected a whole number of evaluations above 0 after the comma of '{text}'.")
    return Condition(found[1], found[2], number)
