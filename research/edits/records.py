"""Edits that were asked for, and edits that were applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from research.settings.config import Choice
from research.settings.times import Clock


@dataclass(frozen=True)
class EditRequest:
    """An edit that somebody asked for."""

    name: str
    """Registered name."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """All arguments, those left at their defaults included."""
    asked_by: str = "Python"
    """Who asked: a timeline's entry, or a hook."""
    entry: str | None = None
    """The timeline's entry as it was written, its time included; None if a hook asked while training."""

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({arguments})"


@dataclass(frozen=True)
class Record:
    """One applied edit."""

    number: int
    """From 1; also the seed of its random numbers."""
    step: int
    """Steps taken before it."""
    epoch: float
    """Passes over the training split before it."""
    name: str
    """Registered name."""
    arguments: dict[str, Any]
    """All arguments."""
    asked_by: str
    """Who asked: a timeline's entry, or a hook."""
    trainable_parameters: list[int]
    """Number before and after."""
    parameters: list[int]
    """Number before and after."""
    entry: str | None = None
    """The timeline's entry as it was written, its time included; None if a hook asked while training."""
    skipped: str | None = None
    """Why the edit was left out although its condition came true (on_conflict: skip); None if it was applied."""
    clock: dict[str, int | None] | None = None
    """What the run's clock read, for applying the edit again; None in journals of earlier versions."""

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
        """Return the record of what was asked for.

        Args:
            request: the edit.
            number: from 1.
            now: where the run is.
            trainable: number of trainable parameters before and after.
            parameters: number of all parameters before and after.
            **more: what else there is to record.
        """
        return cls(
            number,
            now.step,
            round(now.epochs_done, 6),
            request.name,
            request.arguments,
            request.asked_by,
            [*trainable],
            [*parameters],
            request.entry,
            **more,
        )

    @property
    def request(self) -> EditRequest:
        """What was asked for."""
        return EditRequest(self.name, self.arguments, self.asked_by, self.entry)

    def __str__(self) -> str:
        if self.skipped is not None:
            return f"skipped {self.request}, asked for by {self.asked_by}: {self.skipped}"
        trainable = " -> ".join(f"{count:,}" for count in dict.fromkeys(self.trainable_parameters))
        return f"{self.request}, asked for by {self.asked_by}; trainable parameters {trainable}"


@dataclass(frozen=True)
class Parent:
    """The run that a fork comes from."""

    run: str
    """Its directory."""
    step: int
    """Steps that it had taken where the fork begins."""
    journal: tuple[Record, ...]
    """The edits that it had applied there."""


def objective_after(objective: str | dict[str, Any] | None, records: Sequence[Record]) -> Choice:
    """Return a run's objective after some edits.

    Args:
        objective: as the settings have it, resolved.
        records: the edits.
    """
    edited = [
        record.arguments["objective"] for record in records if record.name == "set_objective" and record.skipped is None
    ]
    chosen = edited[-1] if edited else objective
    assert chosen is not None, "the settings are not resolved"
    return Choice.of(chosen, "objective")
