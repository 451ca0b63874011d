"""One entry of a timeline as it is written: when it is due, and which edits with which arguments.

This module imports no torch, so that a timeline can be checked first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from heads.registry import UnknownNameError
from research.edits.conditions import Condition, parse_condition
from research.edits.keywords import ON_CONFLICT, TIMES, describe_unknown_edit
from research.settings import value_types
from research.settings.options import Option
from research.settings.times import Clock, Time, parse_time


@dataclass(frozen=True)
class Due:
    """When the edits of an entry are due: one of three."""

    at: Time | None = None
    """When, once."""
    every: Time | None = None
    """How often."""
    when: Condition | None = None
    """Under which condition, once."""
    on_conflict: Literal["skip", "error"] | None = None
    """What happens if the edits cannot be applied when the condition comes true; None if they always can."""

    def steps(self, clock: Clock) -> list[int]:
        """Return after which steps it is due; none for a condition.

        Raises:
            ValueError: if it can never be reached.
        """
        if self.at is not None:
            step = self.at.to_steps(clock)
            if step > clock.total_steps:
                raise ValueError(f"{self.at} is step {step}, which is never reached: the run has {clock.total_steps}.")
            return [step]
        if self.every is not None:
            period = self.every.to_period(clock)
            steps = list(range(period, clock.total_steps, period))
            if not steps:
                raise ValueError(
                    f"every {self.every} is every {period} steps, which is never reached: the run has "
                    f"{clock.total_steps}."
                )
            return steps
        return []

    def check_evaluations(self, num_evaluations: int) -> None:
        """Refuse a condition that can never come true.

        Args:
            num_evaluations: evaluations before the last step.
        Raises:
            ValueError: if it needs more of them.
        """
        if self.when is not None and num_evaluations < self.when.num_evaluations_needed:
            raise ValueError(
                f"{self.when} needs {self.when.num_evaluations_needed} evaluations before the last step, and can never "
                f"come true: there are {num_evaluations}. Evaluate more often (--evaluate_every)."
            )


def read_entry(written: object, edits: Collection[str], *, may_have_others: bool = False) -> tuple[Due, dict[str, Any]]:
    """Read an entry: one time, and edits by name.

    Args:
        written: the entry.
        edits: names of edits.
        may_have_others: whether there may be edits with other names.
    Returns:
        When it is due, and what is written behind the name of each edit.
    Raises:
        ValueError: if its time cannot be read, or an edit is unknown or missing.
    """
    if not isinstance(written, Mapping):
        raise ValueError(f"expected a mapping such as {{at: 10%, unfreeze: encoder}}, got {written!r}")
    given = dict(written)
    on_conflict = given.pop(ON_CONFLICT, None)
    times = {name: given.pop(name) for name in TIMES if name in given}
    if len(times) != 1:
        raise ValueError(f"expected exactly one of {', '.join(TIMES)}, got {', '.join(times) or 'none'}")
    for name in given:
        if name not in edits and not may_have_others:
            raise UnknownNameError(describe_unknown_edit(name, edits))
    if not given:
        raise ValueError(f"expected an edit beside the time. Edits: {', '.join(edits)}")
    ((kind, text),) = times.items()
    if on_conflict not in (None, "skip", "error"):
        raise ValueError(f"expected {ON_CONFLICT} to be skip or error, got {on_conflict!r}")
    if on_conflict is not None and kind != "when":
        raise ValueError(f"{ON_CONFLICT} is for entries with 'when': what is due at a known time is checked before")
    if kind == "when":
        return Due(when=parse_condition(str(text)), on_conflict=on_conflict), given
    time = parse_time(str(text))
    if kind == "every" and time.value == 0:
        raise ValueError("expected a time above 0 after 'every'")
    return (Due(at=time) if kind == "at" else Due(every=time)), given


def given_arguments(edit: str, options: Sequence[Option], value: Any) -> dict[str, Any]:
    """Return the arguments by name that `edit: value` stands for, not yet typed.

    Args:
        edit: name of the edit.
        options: all of its arguments.
        value: a mapping of arguments, or the first argument alone; true or null for an edit without arguments.
    Raises:
        ValueError: if it takes none.
    """
    names = [option.name for option in options]

    def first_takes(kind: type) -> bool:
        return bool(options) and value_types.accepts(options[0].type, kind())

    if isinstance(value, dict) and (value.keys() <= set(names) or not first_takes(dict)):
        return value
    if value is None or (value is True and not first_takes(bool)):
        return {}
    if not names:
        raise ValueError(f"The edit '{edit}' takes no arguments; write '{edit}: true'. Got {value!r}.")
    return {names[0]: value}
