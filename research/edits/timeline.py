"""The edits of a run and when they are due: read from settings and hooks, resolved to steps before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from heads.registry import UnknownNameError, describe_unknown
from research.choices import resolve_options
from research.clock import Clock, Time, parse_time
from research.config import Choice, RunConfig
from research.edits.adapters import PEFT
from research.edits.base import EDITS, EditRequest, request_edit
from research.edits.conditions import Condition, parse_condition
from research.hooks.base import Hook
from research.hooks.evaluation import reset_if_changed
from research.measures import measure
from research.user_errors import one_line

if TYPE_CHECKING:
    from research.edits.journal import Parent, Record
    from research.run import Run

TIMES = ("at", "every", "when")


@dataclass(frozen=True)
class Entry:
    """Edits that are due together."""

    label: str
    """Where it was written, for messages and the journal."""
    requests: tuple[EditRequest, ...]
    """The edits, in order."""
    at: Time | None = None
    """When, once."""
    every: Time | None = None
    """How often."""
    when: Condition | None = None
    """Under which condition, once."""

    def __str__(self) -> str:
        when = f"every {self.every}" if self.every is not None else self.at or self.when
        return f"{when}: {listed(self.requests)}"

    def marked(self) -> Entry:
        """Return the entry with its text on each of its edits, so that a journal says where an edit comes from."""
        return replace(self, requests=tuple(replace(request, entry=str(self)) for request in self.requests))

    def steps(self, clock: Clock) -> list[int]:
        """Return after which steps it is due; none for a condition.

        Raises:
            ValueError: if it can never be reached.
        """
        if self.at is not None:
            step = self.at.to_steps(clock)
            if step > clock.total_steps:
                raise ValueError(
                    f"{self.label}: {self.at} is step {step}, which is never reached: the run has {clock.total_steps}."
                )
            return [step]
        if self.every is not None:
            period = self.every.to_period(clock)
            steps = list(range(period, clock.total_steps, period))
            if not steps:
                raise ValueError(
                    f"{self.label}: every {self.every} is every {period} steps, which is never reached: the run has "
                    f"{clock.total_steps}."
                )
            return steps
        return []


def listed(requests: Sequence[EditRequest]) -> str:
    """Return edits as one text."""
    return ", ".join(map(str, requests))


@dataclass(frozen=True)
class Timeline:
    """What is due when."""

    due: Mapping[int, Sequence[EditRequest]]
    """Edits by the number of steps taken before them."""
    conditional: Sequence[Entry]
    """Entries that wait for a condition."""
    note: str | None = None
    """What must be said of how it came about."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no edits at all."""
        return not self.due and not self.conditional


def parse_entry(written: Mapping[str, Any], label: str) -> Entry:
    """Read an entry: one time, and edits by name with their arguments.

    Raises:
        ValueError: naming the entry, if its time or an edit cannot be read.
    """
    try:
        times = [name for name in TIMES if name in written]
        if len(times) != 1:
            raise ValueError(f"expected exactly one of {', '.join(TIMES)}, got {', '.join(times) or 'none'}")
        for name in written:
            if name not in TIMES and name not in EDITS:
                raise UnknownNameError(
                    describe_unknown("edit", str(name), [*EDITS, *TIMES], listed_as="Edits and times")
                )
        requests = tuple(request_edit(name, value, label) for name, value in written.items() if name not in TIMES)
        if not requests:
            raise ValueError(f"expected an edit beside the time. Edits: {', '.join(EDITS)}")
        kind, text = times[0], written[times[0]]
        if kind == "when":
            return Entry(label, requests, when=parse_condition(text)).marked()
        time = parse_time(str(text))
        if kind == "every" and time.value == 0:
            raise ValueError("expected a time above 0 after 'every'")
        return (Entry(label, requests, at=time) if kind == "at" else Entry(label, requests, every=time)).marked()
    except ValueError as error:
        raise type(error)(f"{label}: {one_line(error)}") from None


def parse_timeline(config: RunConfig) -> list[Entry]:
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


def planned_by_hooks(hooks: Sequence[Hook], config: RunConfig, blocks: Sequence[str]) -> list[Entry]:
    """Return the entries that hooks plan.

    Args:
        hooks: the run's hooks.
        config: the settings.
        blocks: names of the model's blocks.
    """
    return [
        parse_entry(written, f"hook {type(hook).__name__}")
        for hook in hooks
        for written in hook.timeline(config, blocks)
    ]


def refuse_what_never_comes(entries: Sequence[Entry], num_evaluations: int) -> None:
    """Refuse conditional entries that cannot come true.

    Args:
        entries: of the timeline.
        num_evaluations: evaluations before the last step.
    Raises:
        ValueError: naming the entry.
    """
    for entry in entries:
        if entry.when is not None and num_evaluations < entry.when.num_evaluations_needed:
            raise ValueError(
                f"{entry.label}: {entry.when} needs {entry.when.num_evaluations_needed} evaluations before the last "
                f"step, and can never come true: there are {num_evaluations}. Evaluate more often (--evaluate_every)."
            )


def resolve_timeline(
    entries: Sequence[Entry], clock: Clock, *, smoke: bool = False, parent: Parent | None = None
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
        placed = _pressed(timed, clock.total_steps)
        note = f"--smoke presses the timeline, in its order, into {clock.total_steps} steps."
    else:
        placed = [(step, entry) for entry in timed for step in entry.steps(clock)]
    conditional = [entry for entry in entries if entry.when is not None]
    if parent is not None:
        applied = list(parent.journal)
        placed, notes = _after_fork(placed, parent, applied)
        note = " ".join(filter(None, [note, *notes])) or None
        conditional = [entry for entry in conditional if _take(entry, applied) is None]  # true once, in the parent
    for step, entry in placed:
        due.setdefault(step, []).extend(entry.requests)
    return Timeline(dict(sorted(due.items())), conditional, note)


def _after_fork(
    placed: Sequence[tuple[int, Entry]], parent: Parent, applied: list[Record]
) -> tuple[list[tuple[int, Entry]], list[str]]:
    """Return what a fork has still to do, and what must be reported.

    An entry with `at` that the parent applied is done, also if its share of a longer run comes again; one that only
    resembles it is another entry. Repetitions are due where the fork begins and later.

    Args:
        placed: entries and the steps after which they are due.
        parent: the run that is forked.
        applied: its records; those of the entries are taken out.
    Raises:
        ValueError: for an entry that the parent did not apply, and whose time is past.
    """
    left, notes = [], []
    for step, entry in sorted(placed, key=lambda place: place[0]):
        if entry.every is not None:
            if step > parent.step or (step == parent.step and _take(entry, applied, step) is None):
                left.append((step, entry))
        elif (done := _take(entry, applied)) is not None:
            if step > parent.step:
                notes.append(
                    f"{entry.label} ({entry}) was applied after step {done} of {parent.run}: it is not applied again "
                    f"after step {step}."
                )
        elif step < parent.step:
            raise ValueError(
                f"{entry.label}: {entry.at} is step {step}, which is past: the fork begins after step {parent.step} of "
                f"{parent.run}."
            )
        else:
            left.append((step, entry))
    return left, notes


def _take(entry: Entry, applied: list[Record], step: int | None = None) -> int | None:
    """Take the records of an entry out of those of a parent, and return after which step it was applied, or None.

    Args:
        entry: of the fork's timeline.
        applied: records that belong to no entry yet.
        step: where it must have been applied, if that is known.
    """
    found: list[Record] = []
    for request in entry.requests:
        record = next((each for each in applied if each not in found and _is_of(each, request, step)), None)
        if record is None:
            return None
        found.append(record)
    for record in found:
        applied.remove(record)
    return found[0].step


def _is_of(record: Record, request: EditRequest, step: int | None) -> bool:
    """Return whether a record is of an entry's edit; journals of earlier versions do not name the entry."""
    return (
        (record.name, record.arguments) == (request.name, request.arguments)
        and record.entry in (None, request.entry)
        and step in (None, record.step)
    )


def _pressed(timed: Sequence[Entry], num_steps: int) -> list[tuple[int, Entry]]:
    """Return a boundary for each entry: those of 0 before the first step, the others spread over the rest in order.

    Their order is that of their times, where all are of one kind, else that in which they are written.
    """
    first: list[Entry] = []
    later: list[Entry] = []
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


class FollowTimeline(Hook):
    """Ask for the edits of a timeline when they are due.

    Args:
        timeline: what is due when.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.due = timeline.due
        self.conditional = [replace(entry, when=replace(entry.when)) for entry in timeline.conditional if entry.when]
        self._follows_loss = any(entry.when.metric == "loss" for entry in self.conditional if entry.when)
        self.measured: str | None = None

    def on_train_start(self, run: Run) -> None:
        """Ask for what is due before the first step."""
        self._ask(run)

    def on_resume(self, run: Run) -> None:
        """Ask for what a fork adds where it begins, and reset its conditions if it measures other losses."""
        self.measured = reset_if_changed(run, "loss", self.measured, self._forget_losses, "conditions on the loss")
        if run.start is not None and run.start.is_fork:
            self._ask(run)

    def after_step(self, run: Run) -> None:
        """Ask for what is due after this step."""
        self._ask(run)

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Ask for what waits for a condition that has come true."""
        if split != "validation" or run.is_over:
            return
        self.measured = measure(run, "loss") if self._follows_loss else None
        for entry in self.conditional:
            assert entry.when is not None
            if entry.when.hear(metrics):
                run.ask(entry.requests)

    def after_edits(self, run: Run) -> None:
        """Reset conditions on the loss when losses are no longer comparable."""
        if run.has_new_objective:
            self._forget_losses()

    def _forget_losses(self) -> None:
        for entry in self.conditional:
            if entry.when is not None and entry.when.metric == "loss":
                entry.when.values.clear()
        self.measured = None

    def on_train_end(self, run: Run) -> None:
        """Say what never came."""
        for step, requests in self.due.items():
            if step > run.clock.step:
                where = f"The run ended after step {run.clock.step:,}, before step {step:,}"
                run.say(f"{where}: {listed(requests)} is not applied.")
        for entry in self.conditional:
            assert entry.when is not None
            if not entry.when.has_come_true:
                run.say(f"{entry.when} never came true: {listed(entry.requests)} is not applied.")

    def _ask(self, run: Run) -> None:
        run.ask(self.due.get(run.clock.step, ()))

    def state_dict(self) -> dict[str, Any]:
        """Return what the conditions have seen."""
        conditions = [[str(entry), entry.when.state_dict()] for entry in self.conditional if entry.when]
        return {"conditions": conditions, "measured": self.measured}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what the conditions had seen; those that a fork brings begin now."""
        saved = dict(state["conditions"])
        self.measured = state.get("measured")
        for entry in self.conditional:
            if entry.when is not None and str(entry) in saved:
                entry.when.load_state_dict(saved[str(entry)])
