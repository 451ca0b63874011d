"""Parse one entry of a timeline: when it is due, and its edits with their arguments.

This module does not import torch, so that a timeline can be checked before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from heads.registry import UnknownNameError
from research.edits.conditions import Condition, parse_condition
from research.edits.keywords import DUE_KEYWORDS, ON_CONFLICT, describe_unknown_edit
from research.settings import value_types
from research.settings.options import Option
from research.settings.times import Clock, Time, parse_time


@dataclass(frozen=True)
class Due:
    """When the edits of an entry are due. Exactly one of `at`, `every` and `when` is set."""

    at: Time | None = None
    """Time at which the entry is due once."""
    every: Time | None = None
    """Interval at which the entry is due repeatedly."""
    when: Condition | None = None
    """Condition that makes the entry due once."""
    on_conflict: Literal["skip", "error"] | None = None
    """What happens if the edits cannot be applied when the condition comes true: skip them, or end the run with an
    error. None for an entry whose edits must always be applicable."""

    def steps(self, clock: Clock) -> list[int]:
        """Return the steps after which the entry is due; empty for a condition.

        Raises:
            ValueError: if the time is never reached.
        """
        if self.at is not None:
            step = self.at.to_steps(clock)
            if step > clock.total_steps:
                raise ValueError(
                    f"{self.at} is step {step}, which is never reached: the run has {clock.total_steps} steps."
                )
            return [step]
        if self.every is not None:
            period = self.every.to_period(clock)
            steps = list(range(period, clock.total_steps, period))
            if not steps:
                raise ValueError(
                    f"every {self.every} is every {period} steps, which is never reached: the run has "
                    f"{clock.total_steps} steps."
                )
            return steps
        return []

    def check_evaluations(self, num_evaluations: int) -> None:
        """Check that there are enough evaluations for the condition to come true.

        Args:
            num_evaluations: number of evaluations before the last step.
        Raises:
            ValueError: if the condition needs more evaluations.
        """
        if self.when is not None and num_evaluations < self.when.num_evaluations_needed:
            raise ValueError(
                f"{self.when} can never come true: it needs {self.when.num_evaluations_needed} or more evaluations "
                f"before the last step; there are {num_evaluations}. Evaluate more often (--evaluate_every)."
            )


def read_entry(
    entry: object, known_edits: Collection[str], *, allow_unregistered: bool = False
) -> tuple[Due, dict[str, Any]]:
    """Parse the time or condition of an entry. The entry's edits are returned by name, with their values unparsed.

    Args:
        entry: the entry as in the settings.
        known_edits: names of the registered edits.
        allow_unregistered: whether to accept other edits too, because a plugin may register them later.
    Returns:
        When the entry is due, and the value that the entry gives for each edit.
    Raises:
        ValueError: if the time or condition cannot be parsed, an edit is unknown, or there is no edit.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"expected a mapping such as {{at: 10%, unfreeze: encoder}}, got {entry!r}")
    edits = dict(entry)
    on_conflict = edits.pop(ON_CONFLICT, None)
    due_values = {name: edits.pop(name) for name in DUE_KEYWORDS if name in edits}
    if len(due_values) != 1:
        raise ValueError(f"expected exactly one of {', '.join(DUE_KEYWORDS)}, got {', '.join(due_values) or 'none'}")
    ((keyword, text),) = due_values.items()
    for name in edits:
        if name not in known_edits and not allow_unregistered:
            raise UnknownNameError(describe_unknown_edit(name, known_edits))
    if not edits:
        raise ValueError(f"expected at least one edit besides '{keyword}'. Edits: {', '.join(known_edits)}")
    if on_conflict not in (None, "skip", "error"):
        raise ValueError(f"expected {ON_CONFLICT} to be skip or error, got {on_conflict!r}")
    if on_conflict is not None and keyword != "when":
        raise ValueError(
            f"{ON_CONFLICT} is only for entries with 'when': edits due at a known time are checked before training"
        )
    if keyword == "when":
        return Due(when=parse_condition(str(text)), on_conflict=on_conflict), edits
    time = parse_time(str(text))
    if keyword == "every" and time.value == 0:
        raise ValueError("expected a time above 0 after 'every'")
    return (Due(at=time) if keyword == "at" else Due(every=time)), edits


def given_arguments(edit: str, options: Sequence[Option], value: Any) -> dict[str, Any]:
    """Return the arguments of an edit written as `edit: value`, by name, before their types are checked.

    Args:
        edit: name of the edit.
        options: all arguments of the edit.
        value: a dict of arguments, or the first argument alone; true or null to give no arguments.
    Raises:
        ValueError: if a value is given to an edit that takes no arguments.
    """
    names = [option.name for option in options]

    def first_accepts(value_type: type) -> bool:
        """Return whether the first argument accepts a value of a type."""
        example = value_type()  # {} or False
        return bool(options) and value_types.accepts(options[0].type, example)

    if isinstance(value, dict) and (value.keys() <= set(names) or not first_accepts(dict)):
        return value
    if value is None or (value is True and not first_accepts(bool)):
        return {}
    if not names:
        raise ValueError(f"The edit '{edit}' takes no arguments; write '{edit}: true'. Got {value!r}.")
    return {names[0]: value}
