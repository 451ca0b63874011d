"""The edits of a run and when they are due: read from settings and hooks, resolved to steps before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from research.edits.base import EDITS, request_edit
from research.edits.builtin.adapters import PEFT
from research.edits.entries import Due, read_entry
from research.edits.keywords import TIMES
from research.edits.records import EditRequest
from research.settings.config import Choice, RunConfig
from research.settings.options import resolve_options
from research.settings.times import Clock
from research.system.errors import one_line

if TYPE_CHECKING:
    from research.edits.records import Parent


@dataclass(frozen=True, kw_only=True)
class TimelineEntry(Due):
    """Edits that are due together."""

    label: str
    """Where it was written, for messages and the journal."""
    requests: tuple[EditRequest, ...]
    """The edits, in order."""

    @property
    def identity(self) -> str:
        """The entry as it was written: the same in a run and its forks, wherever it stands in their timelines."""
        assert self.requests[0].entry is not None
        return self.requests[0].entry

    def __str__(self) -> str:
        return f"{self.at or self.every or self.when}: {listed(self.requests)}"

    def steps(self, clock: Clock) -> list[int]:
        """Return after which steps it is due; none for a condition.

        Raises:
            ValueError: if it can never be reached.
        """
        try:
            return super().steps(clock)
        except ValueError as error:
            raise ValueError(f"{self.label}: {error}") from None


def listed(requests: Sequence[EditRequest]) -> str:
    """Return edits as one text."""
    return ", ".join(map(str, requests))


@dataclass(frozen=True)
class Timeline:
    """What is due when."""

    due: Mapping[int, Sequence[EditRequest]]
    """Edits by the number of steps taken before them."""
    conditional: Sequence[TimelineEntry]
    """Entries that wait for a condition."""
    note: str | None = None
    """What must be said of how it came about."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no edits at all."""
        return not self.due and not self.conditional


def parse_entry(written: Mapping[str, Any], label: str) -> TimelineEntry:
    """Read an entry: one time, and edits by name with their arguments.

    Raises:
        ValueError: naming the entry, if its time or an edit cannot be read.
    """
    try:
        due, edits = read_entry(written, EDITS)
        requests = tuple(request_edit(name, value, label) for name, value in edits.items())
        kind = next(name for name in TIMES if getattr(due, name) is not None)
        identity = f"{kind} {getattr(due, kind)}: {listed(requests)}"
        requests = tuple(replace(request, entry=identity) for request in requests)
        return TimelineEntry(**vars(due), label=label, requests=requests)
    except ValueError as error:
        raise type(error)(f"{label}: {one_line(error)}") from None


def parse_timeline(config: RunConfig) -> list[TimelineEntry]:
    """Return the entries that the settings ask for: --freeze first, then --peft, then the timeline's in their order.

    Raises:
        ValueError: naming the entry that cannot be read.
    """
    entries = []
    if config.freeze:
        entries.append(parse_entry({"at": "0%", "freeze": config.freeze}, "--freeze"))
    if config.peft is not None:
        choice = Choice.of(config.peft, "peft")
        written = {"at": "0%", f"add_{choice.name}": resolve_options(PEFT, choice)}
        entries.append(parse_entry(written, "--peft"))
    return entries + [
        parse_entry(written, f"timeline entry {number}") for number, written in enumerate(config.timeline, start=1)
    ]


def refuse_what_never_comes(entries: Sequence[TimelineEntry], num_evaluations: int) -> None:
    """Refuse conditional entries that cannot come true.

    Args:
        entries: of the timeline.
        num_evaluations: evaluations before the last step.
    Raises:
        ValueError: naming the entry.
    """
    for entry in entries:
        try:
            entry.check_evaluations(num_evaluations)
        except ValueError as error:
            raise ValueError(f"{entry.label}: {error}") from None


def resolve_timeline(
    entries: Sequence[TimelineEntry], clock: Clock, *, smoke: bool = False, parent: Parent | None = None
) -> Timeline:
    """Return which edits are due after which step.

    Args:
        entries: in the order in which they apply, where they fall on the same step.
        clock: the run's.
        smoke: press the entries, in their order, into a run that is too short for them.
        parent: the run that this one is a fork of; what it applied is not applied again.
    Raises:
        ValueError: if an entry can never be reached.
    """
    due: dict[int, list[EditRequest]] = {}
    timed = [entry for entry in entries if entry.when is None]
    note = None
    if smoke and timed:
        placed = _compress_for_smoke(timed, clock.total_steps)
        note = f"--smoke presses the timeline, in its order, into {clock.total_steps} steps."
    else:
        placed = [(step, entry) for entry in timed for step in entry.steps(clock)]
    conditional = [entry for entry in entries if entry.when is not None]
    if parent is not None:
        placed, repeated = _after_fork(placed, parent)
        note = " ".join(filter(None, [note, *repeated])) or None
        come_true = {record.entry for record in parent.journal}
        conditional = [entry for entry in conditional if entry.identity not in come_true]
    for step, entry in placed:
        due.setdefault(step, []).extend(entry.requests)
    return Timeline(dict(sorted(due.items())), conditional, note)


def _after_fork(
    placed: Sequence[tuple[int, TimelineEntry]], parent: Parent
) -> tuple[list[tuple[int, TimelineEntry]], list[str]]:
    """Return what a fork has still to do, and what must be reported.

    To be done is what is due where the fork begins or later, and was not done by its parent.

    An edit of the parent counts as done for the very entry that asked for it, not for others that ask for the same at
    another time. Where the fork is longer, a share of the run falls on a later step; its entry is done all the same.

    Raises:
        ValueError: for an entry that the parent did not apply, and whose time is past.
    """
    done = Counter(record.entry for record in parent.journal)
    done_here = {record.entry for record in parent.journal if record.step == parent.step}
    left, notes = [], []
    for step, entry in sorted(placed, key=lambda place: place[0]):
        if entry.every is not None:
            if step > parent.step or (step == parent.step and entry.identity not in done_here):
                left.append((step, entry))
        elif done[entry.identity] >= len(entry.requests):
            done[entry.identity] -= len(entry.requests)
            if step > parent.step:
                notes.append(
                    f"{entry.label} ({entry}) was applied by {parent.run}, and is not repeated at step {step}."
                )
        elif step < parent.step:
            raise ValueError(
                f"{entry.label}: {entry.at} is step {step}, which is past: the fork begins after step {parent.step} of "
                f"{parent.run}."
            )
        else:
            left.append((step, entry))
    return left, notes


def _compress_for_smoke(timed: Sequence[TimelineEntry], num_steps: int) -> list[tuple[int, TimelineEntry]]:
    """Return a boundary for each entry: those of 0 before the first step, the others spread over the rest in order.

    Their order is that of their times, where all are of one kind, else that in which they are written.
    """
    first: list[TimelineEntry] = []
    later: list[TimelineEntry] = []
    for entry in timed:
        (first if entry.at is not None and entry.at.value == 0 else later).append(entry)
    units = {time.unit for entry in later if (time := entry.at or entry.every) is not None}
    if len(units) == 1:  # times of several kinds cannot be compared in so short a run
        later.sort(key=lambda entry: (entry.at or entry.every).value)  # type: ignore[union-attr]
    boundaries = max(1, num_steps - 1)
    return [
        *((0, entry) for entry in first),
        *((1 + number * boundaries // len(later), entry) for number, entry in enumerate(later)),
    ]
