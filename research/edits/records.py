"""Requests for edits, and the records of edits in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from research.settings.config import Choice
from research.settings.times import Clock


@dataclass(frozen=True)
class EditRequest:
    """A request for an edit."""

    name: str
    """Registered name of the edit."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """All arguments, including defaults."""
    requested_by: str = "Python"
    """Origin of the request: a setting, a timeline entry, a hook, or Python code outside hooks."""
    entry: str | None = None
    """The timeline entry as a string, with its time or condition; None for an edit requested with `run.edit`."""

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({arguments})"


@dataclass(frozen=True)
class Record:
    """The record of one applied or skipped edit."""

    number: int
    """Number of the edit, from 1. It also seeds the edit's random numbers."""
    step: int
    """Steps taken before the edit."""
    epoch: float
    """Passes over the training split before the edit."""
    name: str
    """Registered name of the edit."""
    arguments: dict[str, Any]
    """All arguments, including defaults."""
    requested_by: str
    """Origin of the request: a setting, a timeline entry, a hook, or Python code outside hooks."""
    trainable_parameters: list[int]
    """Number of trainable parameters before and after the edit."""
    parameters: list[int]
    """Number of all parameters before and after the edit."""
    entry: str | None = None
    """The timeline entry as a string, with its time or condition; None for an edit requested with `run.edit`."""
    skipped: str | None = None
    """Why the edit was skipped when its condition came true (on_conflict: skip); None if it was applied."""
    clock: dict[str, int | None] | None = None
    """State of the run's clock, for applying the edit again; None in journals of earlier versions."""

    @classmethod
    def of(
        cls,
        request: EditRequest,
        number: int,
        now: Clock,
        trainable: Sequence[int],
        parameters: Sequence[int],
        **more: Any,
    ) -> Record:
        """Return the record of a requested edit.

        Args:
            request: the request.
            number: number of the edit, from 1.
            now: the run's clock.
            trainable: number of trainable parameters before and after the edit.
            parameters: number of all parameters before and after the edit.
            **more: further fields of the record: `skipped` or `clock`.
        """
        return cls(
            number,
            now.step,
            round(now.epochs_done, 6),
            request.name,
            request.arguments,
            request.requested_by,
            [*trainable],
            [*parameters],
            request.entry,
            **more,
        )

    @property
    def request(self) -> EditRequest:
        """The request for the edit."""
        return EditRequest(self.name, self.arguments, self.requested_by, self.entry)

    def __str__(self) -> str:
        if self.skipped is not None:
            return f"skipped {self.request}, requested by {self.requested_by}: {self.skipped}"
        trainable = " -> ".join(f"{count:,}" for count in dict.fromkeys(self.trainable_parameters))
        return f"{self.request}, requested by {self.requested_by}; trainable parameters {trainable}"


@dataclass(frozen=True)
class Parent:
    """The run that a fork continues, as it was when the fork starts."""

    run: str
    """Directory of the parent run."""
    step: int
    """Steps that the parent had taken when the fork starts."""
    journal: tuple[Record, ...]
    """Records of the parent's edits up to `step`."""


def objective_after(objective: str | dict[str, Any] | None, records: Sequence[Record]) -> Choice:
    """Return a run's objective after some edits.

    Args:
        objective: the objective in the resolved settings.
        records: the edits.
    """
    edited = [
        record.arguments["objective"] for record in records if record.name == "set_objective" and record.skipped is None
    ]
    chosen = edited[-1] if edited else objective
    assert chosen is not None, "the settings are not resolved"
    return Choice.of(chosen, "objective")
