"""The timeline of a run, read from the settings. Before training, the times in it are converted to steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from research.edits.base import EDITS, parse_request
from research.edits.builtin.adapters import PEFT
from research.edits.entries import Due, read_entry
from research.edits.keywords import DUE_KEYWORDS
from research.edits.records import EditRequest
from research.settings.config import Choice, RunConfig
from research.settings.options import resolve_options
from research.settings.times import Clock
from research.system.errors import one_line

if TYPE_CHECKING:
    from research.edits.records import Parent


@dataclass(frozen=True, kw_only=True)
class TimelineEntry(Due):
    """One or several edits that are due at the same time or under the same condition."""

    requested_by: str
    """What requests the edits, for messages and the journal: `--freeze`, `timeline entry 2` or `hook MyHook`."""
    requests: tuple[EditRequest, ...]
    """The edits, in order."""

    @property
    def identity(self) -> str:
        """The entry as a string, equal in a run and its forks, whatever the entry's position in their timelines."""
        assert self.requests[0].entry is not None
        return self.requests[0].entry

    def __str__(self) -> str:
        return f"{self.at or self.every or self.when}: {list_edits(self.requests)}"

    def steps(self, clock: Clock) -> list[int]:
        """Return the steps after which the entry is due; empty for a condition.

        Raises:
            ValueError: if the time is never reached; names the entry.
        """
        try:
            return super().steps(clock)
        except ValueError as error:
            raise ValueError(f"{self.requested_by}: {error}") from None


def list_edits(requests: Sequence[EditRequest]) -> str:
    """Return edits as a comma-separated list."""
    return ", ".join(map(str, requests))


@dataclass(frozen=True)
class Timeline:
    """The edits of a run, with the step or condition at which they are due."""

    due: Mapping[int, Sequence[EditRequest]]
    """Edits by the number of steps taken before them."""
    conditional: Sequence[TimelineEntry]
    """Entries with a condition."""
    note: str | None = None
    """A message for the user about how the timeline was resolved."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no edits."""
        return not self.due and not self.conditional


def parse_entry(entry: Mapping[str, Any], requested_by: str) -> TimelineEntry:
    """Parse an entry: one time or condition, and edits by name with their arguments.

    Args:
        entry: the entry as in the settings.
        requested_by: what requests the edits, such as `timeline entry 2`, for messages and the journal.
    Raises:
        ValueError: if the time, the condition or an edit cannot be parsed; names the entry.
    """
    try:
        due, edits = read_entry(entry, EDITS)
        requests = tuple(parse_request(name, value, requested_by) for name, value in edits.items())
        keyword = next(name for name in DUE_KEYWORDS if getattr(due, name) is not None)
        identity = f"{keyword} {getattr(due, keyword)}: {list_edits(requests)}"
        requests = tuple(replace(request, entry=identity) for request in requests)
        return TimelineEntry(**vars(due), requested_by=requested_by, requests=requests)
    except ValueError as error:
        raise type(error)(f"{requested_by}: {one_line(error)}") from None


def parse_timeline(config: RunConfig) -> list[TimelineEntry]:
    """Return the entries in the settings: --freeze first, then --peft, then the timeline in its order.

    Raises:
        ValueError: if an entry cannot be parsed; names the entry.
    """
    entries = []
    if config.freeze:
        entries.append(parse_entry({"at": "0%", "freeze": config.freeze}, "--freeze"))
    if config.peft is not None:
        choice = Choice.of(config.peft, "peft")
        # The edit that adds the adapters `lora` is called add_lora.
        entry = {"at": "0%", f"add_{choice.name}": resolve_options(PEFT, choice)}
        entries.append(parse_entry(entry, "--peft"))
    return entries + [
        parse_entry(entry, f"timeline entry {number}") for number, entry in enumerate(config.timeline, start=1)
    ]


def check_conditions(entries: Sequence[TimelineEntry], num_evaluations: int) -> None:
    """Check that all conditions can come true.

    Args:
        entries: entries of the timeline.
        num_evaluations: number of evaluations before the last step.
    Raises:
        ValueError: if a condition can never come true; names the entry.
    """
    for entry in entries:
        try:
            entry.check_evaluations(num_evaluations)
        except ValueError as error:
            raise ValueError(f"{entry.requested_by}: {error}") from None


def resolve_timeline(
    entries: Sequence[TimelineEntry], clock: Clock, *, smoke: bool = False, parent: Parent | None = None
) -> Timeline:
    """Return the timeline with the step after which each edit is due.

    Args:
        entries: the entries. Entries that are due after the same step are applied in this order.
        clock: the run's clock.
        smoke: whether this is a smoke run, into whose few steps the timeline is compressed.
        parent: for a fork, the run that it continues. Edits that the parent applied are not applied again.
    Raises:
        ValueError: if the time of an entry is never reached, or has passed when the fork starts.
    """
    due: dict[int, list[EditRequest]] = {}
    timed = [entry for entry in entries if entry.when is None]
    note = None
    if smoke and timed:
        due_entries = _compress_for_smoke(timed, clock.total_steps)
        note = f"--smoke compresses the timeline into {clock.total_steps} steps."
    else:
        due_entries = [(step, entry) for entry in timed for step in entry.steps(clock)]
    conditional = [entry for entry in entries if entry.when is not None]
    if parent is not None:
        due_entries, fork_notes = _drop_applied_by_parent(due_entries, parent)
        note = " ".join(filter(None, [note, *fork_notes])) or None
        applied_by_parent = {record.entry for record in parent.journal}
        conditional = [entry for entry in conditional if entry.identity not in applied_by_parent]
    for step, entry in due_entries:
        due.setdefault(step, []).extend(entry.requests)
    return Timeline(dict(sorted(due.items())), conditional, note)


def _drop_applied_by_parent(
    due_entries: Sequence[tuple[int, TimelineEntry]], parent: Parent
) -> tuple[list[tuple[int, TimelineEntry]], list[str]]:
    """Return the entries that a fork still has to apply, and messages for the user.

    The fork applies the entries that are due when it starts or later, unless its parent has applied them.

    Entries are compared as strings. An entry that requests the same edit at a different time is therefore a different
    entry. Conversely, an entry at 50% that the parent applied counts as applied, even if 50% is a later step in the
    fork because the fork is longer.

    Args:
        due_entries: entries with the step after which each is due.
        parent: the run that the fork continues.
    Raises:
        ValueError: if the parent did not apply an entry, and the entry's step has passed.
    """
    num_applied_edits = Counter(record.entry for record in parent.journal)
    applied_at_fork = {record.entry for record in parent.journal if record.step == parent.step}
    remaining, notes = [], []
    for step, entry in sorted(due_entries, key=lambda pair: pair[0]):
        if entry.every is not None:
            if step > parent.step or (step == parent.step and entry.identity not in applied_at_fork):
                remaining.append((step, entry))
        elif num_applied_edits[entry.identity] >= len(entry.requests):
            num_applied_edits[entry.identity] -= len(entry.requests)  # the timeline may contain the same entry twice
            if step > parent.step:
                notes.append(
                    f"{entry.requested_by} ({entry}) was applied by {parent.run} and is not repeated at step {step}."
                )
        elif step < parent.step:
            raise ValueError(
                f"{entry.requested_by}: {entry.at} is step {step}, which has passed: the fork starts after step "
                f"{parent.step} of {parent.run}."
            )
        else:
            remaining.append((step, entry))
    return remaining, notes


def _compress_for_smoke(timed: Sequence[TimelineEntry], num_steps: int) -> list[tuple[int, TimelineEntry]]:
    """Return the entries of a smoke run, each with the step after which it is due.

    Entries at time 0 are due before the first step. The remaining entries are spread over the steps of the run, in the
    order of their times if all times have the same unit, and otherwise in the order of the timeline.
    """
    first: list[TimelineEntry] = []
    later: list[TimelineEntry] = []
    for entry in timed:
        (first if entry.at is not None and entry.at.value == 0 else later).append(entry)
    units = {time.unit for entry in later if (time := entry.at or entry.every) is not None}
    # Times in different units could only be compared as steps, but a smoke run has too few steps for that.
    if len(units) == 1:
        later.sort(key=lambda entry: (entry.at or entry.every).value)  # type: ignore[union-attr]
    num_possible_steps = max(1, num_steps - 1)  # an edit after the last step would have no effect on training
    return [
        *((0, entry) for entry in first),
        *((1 + number * num_possible_steps // len(later), entry) for number, entry in enumerate(later)),
    ]
