"""Position within a run (`Clock`), and times as users write them: `120st`, `0.25ep`, `50%`, `20000ex`."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["st", "ep", "%", "ex"]
FORMAT_ADVICE = "write 120st (steps), 0.25ep (epochs), 50% (of the run) or 20000ex (examples)"


@dataclass
class Clock:
    """Position within a run: the step, the epoch, and the step within the epoch."""

    steps_per_epoch: int
    """Steps in one pass over the training split; the last one may have fewer examples."""
    total_steps: int
    """Steps in the whole run."""
    batch_size: int
    """Examples in a full step."""
    step: int = 0
    """Steps taken."""
    epoch: int = 0
    """Number of the current epoch, from 0."""
    step_in_epoch: int = 0
    """Steps taken in the current epoch."""
    num_examples_seen: int = 0
    """Examples trained on."""
    examples_per_epoch: int | None = None
    """Rows of the training split; None if every step counts as a full step."""
    has_epochs: bool = True
    """Whether the length of an epoch is known. If not, the whole run is one epoch."""

    @classmethod
    def of_run(cls, *, num_examples: int | None, batch_size: int, epochs: float, max_steps: int | None) -> Clock:
        """Return the clock of a new run.

        Args:
            num_examples: number of rows of the training split; None if it is not known. The whole run is one epoch
                then.
            batch_size: examples per step.
            epochs: passes over the split; rounded to whole steps, but at least one step.
            max_steps: number of steps; overrides epochs.
        Raises:
            ValueError: if neither the number of rows nor the number of steps is known.
        """
        if num_examples is None:
            if max_steps is None:
                raise ValueError(
                    "Expected --max_steps, since the number of training rows is not known without reading them (only "
                    "parquet files contain it); found only --epochs. Set --max_steps."
                )
            return cls(max_steps, max_steps, batch_size, has_epochs=False)
        steps_per_epoch = math.ceil(num_examples / batch_size)
        total_steps = max_steps or max(1, round(epochs * steps_per_epoch))
        return cls(steps_per_epoch, total_steps, batch_size, examples_per_epoch=num_examples)

    @property
    def epochs_done(self) -> float:
        """Passes over the training split so far."""
        return self.epoch + self.step_in_epoch / self.steps_per_epoch

    def advance(self, num_examples: int) -> None:
        """Count one step with this many examples."""
        self.step += 1
        self.step_in_epoch += 1
        self.num_examples_seen += num_examples

    def start_next_epoch(self) -> None:
        """Start the next epoch."""
        self.epoch += 1
        self.step_in_epoch = 0

    def set_step(self, step: int) -> None:
        """Move to the position right after a step. After an epoch's last step, the next epoch has not started yet."""
        self.step = step
        self.epoch = max(0, step - 1) // self.steps_per_epoch
        self.step_in_epoch = step - self.epoch * self.steps_per_epoch
        per_epoch = self.examples_per_epoch or self.steps_per_epoch * self.batch_size
        self.num_examples_seen = self.epoch * per_epoch + min(self.step_in_epoch * self.batch_size, per_epoch)

    @contextlib.contextmanager
    def rewound_to(self, step: int, state: Mapping[str, int | None] | None = None) -> Iterator[None]:
        """Set the clock to an earlier position for the duration of the context.

        Args:
            step: number of steps taken at that position.
            state: the clock's `state_dict` at that position; if None, the clock is set to right after the step.
        """
        current = self.state_dict()
        self.set_step(step)
        vars(self).update(state or {})
        try:
            yield
        finally:
            vars(self).update(current)

    def state_dict(self) -> dict[str, int | None]:
        """Return all fields of the clock."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        """Restore the fields that `state_dict` returned.

        Raises:
            ValueError: if the run has a different length or batch size.
        """
        for name in ("steps_per_epoch", "total_steps", "batch_size"):
            if state[name] != getattr(self, name):
                raise ValueError(f"The checkpoint's run has {name} {state[name]}; this run has {getattr(self, name)}.")
        vars(self).update(state)


@dataclass(frozen=True)
class Time:
    """A position within a run, or a length of training."""

    value: float
    """Number of units."""
    unit: Unit
    """st = steps, ep = epochs, % = percent of the run, ex = examples."""

    def to_steps(self, clock: Clock) -> int:
        """Return the time in steps, rounded to the nearest step; half a step is rounded up.

        Raises:
            ValueError: if the time is in epochs, but their length is not known.
        """
        if self.unit == "ep" and not clock.has_epochs:
            raise ValueError(
                f"Expected a time in steps, percent or examples, since the length of an epoch is not known without "
                f"reading all rows; got {self}."
            )
        steps = {
            "st": self.value,
            "ep": self.value * clock.steps_per_epoch,
            "%": self.value / 100 * clock.total_steps,
            "ex": self._examples_in_steps(clock),
        }[self.unit]
        return math.floor(steps + 0.5)

    def _examples_in_steps(self, clock: Clock) -> float:
        """Convert examples to steps; the last step of each epoch may have fewer examples."""
        per_epoch = clock.examples_per_epoch or clock.steps_per_epoch * clock.batch_size
        epochs, rest = divmod(self.value, per_epoch)
        return epochs * clock.steps_per_epoch + rest / clock.batch_size

    def to_period(self, clock: Clock) -> int:
        """Return the time as an interval between two events, in steps; at least 1.

        Raises:
            ValueError: if the time is 0.
        """
        if self.value == 0:
            raise ValueError(f"Expected a time above 0 between two events, got {self}.")
        return max(1, self.to_steps(clock))

    def fraction(self, numerator: int, denominator: int) -> Time:
        """Return `numerator / denominator` of this time; steps and examples are rounded to integers."""
        value = self.value * numerator / denominator
        return Time(float(math.floor(value + 0.5)) if self.unit in ("st", "ex") else value, self.unit)

    def __str__(self) -> str:
        number = f"{self.value:.12f}".rstrip("0").rstrip(".")  # no exponent: `parse_time` cannot read it
        return f"{number}{self.unit}"


def parse_time(text: str) -> Time:
    """Parse a time.

    Raises:
        ValueError: if the text is not a number with a unit.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(st|ep|%|ex)\s*", text)
    if match is None:
        if text.strip() in ("0", "0.0"):
            return Time(0, "st")
        raise ValueError(f"Cannot read the time '{text}': {FORMAT_ADVICE}.")
    value, unit = float(match[1]), match[2]
    if unit in ("st", "ex") and not value.is_integer():
        raise ValueError(f"Cannot read the time '{text}': the number of steps or examples must be an integer.")
    if unit == "%" and value > 100:
        raise ValueError(f"Cannot read the time '{text}': a percentage is at most 100%.")
    return Time(value, unit)  # type: ignore[arg-type]
