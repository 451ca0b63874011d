"""Where a run is, and times as people write them: `120st`, `0.25ep`, `50%`, `20000ex`."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["st", "ep", "%", "ex"]
EXAMPLES = "write 120st (steps), 0.25ep (epochs), 50% (of the run) or 20000ex (examples)"


@dataclass
class Clock:
    """Where a run is: steps taken, the epoch, and the place in it."""

    steps_per_epoch: int
    """Steps of one pass over the training split; the last may be short."""
    total_steps: int
    """Steps of the whole run."""
    batch_size: int
    """Examples of a full step."""
    step: int = 0
    """Steps taken."""
    epoch: int = 0
    """Number of the current epoch, from 0."""
    step_in_epoch: int = 0
    """Steps taken in the current epoch."""
    num_examples_seen: int = 0
    """Examples trained on."""
    examples_per_epoch: int | None = None
    """Rows of the training split, where they are not those of full steps."""

    @classmethod
    def of_run(cls, *, num_examples: int, batch_size: int, epochs: float, max_steps: int | None) -> Clock:
        """Return the clock of a new run.

        Args:
            num_examples: rows of the training split.
            batch_size: examples of a step.
            epochs: passes over the split; fractions are rounded to whole steps, at least one.
            max_steps: steps, instead of epochs.
        """
        steps_per_epoch = math.ceil(num_examples / batch_size)
        total_steps = max_steps or max(1, round(epochs * steps_per_epoch))
        return cls(steps_per_epoch, total_steps, batch_size, examples_per_epoch=num_examples)

    @property
    def epochs_done(self) -> float:
        """Passes over the training split so far."""
        return self.epoch + self.step_in_epoch / self.steps_per_epoch

    def advance(self, num_examples: int) -> None:
        """Count a step of so many examples."""
        self.step += 1
        self.step_in_epoch += 1
        self.num_examples_seen += num_examples

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch += 1
        self.step_in_epoch = 0

    def go_to(self, step: int) -> None:
        """Read as right after a step: at the end of an epoch the next one has not begun."""
        self.step = step
        self.epoch = max(0, step - 1) // self.steps_per_epoch
        self.step_in_epoch = step - self.epoch * self.steps_per_epoch
        per_epoch = self.examples_per_epoch or self.steps_per_epoch * self.batch_size
        self.num_examples_seen = self.epoch * per_epoch + min(self.step_in_epoch * self.batch_size, per_epoch)

    @contextlib.contextmanager
    def turned_to(self, step: int, reading: Mapping[str, int | None] | None = None) -> Iterator[None]:
        """Read inside as the clock did at an earlier time.

        Args:
            step: the steps taken then.
            reading: its `state_dict` of then; None reads as right after the step.
        """
        now = self.state_dict()
        self.go_to(step)
        vars(self).update(reading or {})
        try:
            yield
        finally:
            vars(self).update(now)

    def state_dict(self) -> dict[str, int | None]:
        """Return all counts."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        """Take back what `state_dict` returned.

        Raises:
            ValueError: if the run has another length.
        """
        for name in ("steps_per_epoch", "total_steps", "batch_size"):
            if state[name] != getattr(self, name):
                raise ValueError(f"The checkpoint's run has {name} {state[name]}, this one {getattr(self, name)}.")
        vars(self).update(state)


@dataclass(frozen=True)
class Time:
    """A moment in a run, or a span of it."""

    value: float
    """In the unit."""
    unit: Unit
    """st = steps, ep = epochs, % = of the run, ex = examples."""

    def to_steps(self, clock: Clock) -> int:
        """Return the time in steps, rounded to the nearest; half a step counts as one."""
        steps = {
            "st": self.value,
            "ep": self.value * clock.steps_per_epoch,
            "%": self.value / 100 * clock.total_steps,
            "ex": self._examples_in_steps(clock),
        }[self.unit]
        return math.floor(steps + 0.5)

    def _examples_in_steps(self, clock: Clock) -> float:
        """Return examples in steps: the last step of each epoch may be short."""
        per_epoch = clock.examples_per_epoch or clock.steps_per_epoch * clock.batch_size
        epochs, rest = divmod(self.value, per_epoch)
        return epochs * clock.steps_per_epoch + rest / clock.batch_size

    def to_period(self, clock: Clock) -> int:
        """Return the time in steps, as the distance between two events; at least 1.

        Raises:
            ValueError: for a time of 0.
        """
        if self.value == 0:
            raise ValueError(f"Expected a time above 0 between two events, got {self}.")
        return max(1, self.to_steps(clock))

    def share(self, part: int, num_parts: int) -> Time:
        """Return so many of equal parts of this time; whole steps, or examples."""
        value = self.value * part / num_parts
        return Time(float(math.floor(value + 0.5)) if self.unit in ("st", "ex") else value, self.unit)

    def __str__(self) -> str:
        number = f"{self.value:.12f}".rstrip("0").rstrip(".")  # never with an exponent, which cannot be read back
        return f"{number}{self.unit}"


def parse_time(text: str) -> Time:
    """Read a time.

    Raises:
        ValueError: if it is not a number with a unit.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(st|ep|%|ex)\s*", text)
    if found is None:
        if text.strip() in ("0", "0.0"):
            return Time(0, "st")
        raise ValueError(f"Cannot read the time '{text}': {EXAMPLES}.")
    value, unit = float(found[1]), found[2]
    if unit in ("st", "ex") and not value.is_integer():
        raise ValueError(f"Cannot read the time '{text}': steps and examples are whole numbers.")
    if unit == "%" and value > 100:
        raise ValueError(f"Cannot read the time '{text}': a run has 100%.")
    return Time(value, unit)  # type: ignore[arg-type]
