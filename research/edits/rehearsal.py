"""A run without data or weights: its edits, learning rates and trainable parameters, step by step.

The very functions that will change the model are called, on a model whose parameters have shapes only.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from research.data.batches.collate import Collator
from research.edits.apply import apply_edit, refuse_nothing_to_train
from research.edits.base import Editable, EditError, Processes
from research.edits.keywords import ON_CONFLICT
from research.edits.records import EditRequest, Parent, Record
from research.edits.timeline import Timeline, TimelineEntry
from research.learning.logged_names import check_reserved_names
from research.learning.objectives import Objective
from research.learning.optimizer import apply_schedule, learning_rates, parameter_groups
from research.learning.schedules import Schedule, create_schedule
from research.model.encoder_with_head import EncoderWithHead, build_model
from research.model.families import model_blocks
from research.model.parameters import count_parameters
from research.settings.config import RunConfig
from research.settings.times import Clock
from research.system.errors import one_line
from research.system.launcher import num_launched
from research.tasks.base import Task


@dataclass(frozen=True)
class StepPlan:
    """What a step will be like."""

    step: int
    """From 1."""
    learning_rates: dict[str, float]
    """Rate of each block."""
    trainable_parameters: int
    """Numbers that the optimizer moves."""
    trainable_blocks: tuple[str, ...]
    """Blocks of which at least a part trains."""


@dataclass(frozen=True)
class RehearsedProcesses:
    """What `run.accelerator` is in a rehearsal, which takes place on each process by itself."""

    device: torch.device
    """Where the parameters are: torch's `meta` device."""
    num_processes: int
    """How many processes the launcher started."""
    process_index: int
    """Number of this process, from 0."""
    mixed_precision: str
    """Floating-point precision of the forward pass."""

    @property
    def is_main_process(self) -> bool:
        """Whether this is process 0."""
        return self.process_index == 0

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_not_there("run.accelerator", name, Processes))


@dataclass
class Rehearsal:
    """What edits may change, as in a run."""

    config: RunConfig
    """The settings."""
    task: Task
    """What is predicted."""
    objective: Objective
    """What is minimised."""
    collator: Collator
    """Knows how long training inputs are."""
    clock: Clock
    """Where the rehearsal is."""
    schedule: Schedule
    """Factor on every group's base rate."""
    encoder_with_head: EncoderWithHead
    """The model, without values."""
    optimizer: torch.optim.Optimizer
    """Its groups."""
    original_tokenizer: PreTrainedTokenizerBase
    """The run's tokenizer, which a rehearsal leaves as it is."""
    journal: list[Record] = field(default_factory=list)
    """All edits that were applied."""
    applying: EditRequest | None = None
    """The edit that is being applied."""
    fresh: set[nn.Parameter] = field(default_factory=set)
    """Parameters that the edits of this boundary made or initialised anew."""

    _known: tuple[int, tuple[str, ...]] | None = None
    """Trainable parameters and blocks, until the next edit."""

    @classmethod
    def of(
        cls,
        config: RunConfig,
        task: Task,
        objective: Objective,
        collator: Collator,
        clock: Clock,
        tokenizer: PreTrainedTokenizerBase,
        outline: EncoderWithHead | None = None,
    ) -> Rehearsal:
        """Return the rehearsal of a run before its first step.

        Args:
            config: the settings.
            task: what is predicted.
            objective: what is minimised.
            collator: stays as it is, like all but the outline.
            clock: of the run.
            tokenizer: the encoder's.
            outline: the model without values, which the rehearsal changes; None builds it.
        """
        model = build_model(config, task, with_weights=False) if outline is None else outline
        schedule = create_schedule(config, clock)
        # Any optimizer has groups; the fused ones refuse parameters without values.
        optimizer = torch.optim.SGD(parameter_groups(model_blocks(model.encoder, model.head), config), lr=config.lr)
        apply_schedule(optimizer, schedule)
        parts = (copy.copy(collator), copy.copy(clock), schedule, model, optimizer, tokenizer)
        return cls(config, task, objective, *parts)

    @property
    def model(self) -> nn.Module:
        """The model; a rehearsal has no wrappers."""
        return self.encoder_with_head

    @property
    def accelerator(self) -> RehearsedProcesses:
        """This process's number, the number of processes, precision and device."""
        device, rank = self.encoder_with_head.device, int(os.environ.get("RANK", "0"))
        return RehearsedProcesses(device, num_launched(), rank, self.config.mixed_precision)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and talks to the user."""
        return self.accelerator.is_main_process

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The encoder's tokenizer: a copy, since an edit may add tokens, and does so once more in the run."""
        return copy.deepcopy(self.original_tokenizer)

    def log(self, values: dict[str, float]) -> None:
        """Check the names of values to log.

        Raises:
            ValueError: for a name that every line has already.
        """
        check_reserved_names(values)

    def print(self, message: str) -> None:
        """Say nothing: the run will, once."""

    @contextlib.contextmanager
    def shared_random_numbers(self) -> Iterator[None]:
        """Draw the same random numbers on every process inside; in an edit all random numbers are."""
        yield

    def __deepcopy__(self, memo: dict[int, Any]) -> Rehearsal:
        """Return a copy that shares the run's tokenizer, whose copy takes long and is rarely wanted."""
        memo[id(self.original_tokenizer)] = self.original_tokenizer
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        vars(copied).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return copied

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_not_there("run", name, Editable))

    def follow(self, parent: Parent) -> None:
        """Go to where a fork begins, by the edits that its parent applied."""
        due: dict[int, list[Record]] = {}
        for record in parent.journal:
            if record.skipped is not None:
                continue
            due.setdefault(record.step, []).append(record)
        for step in range(parent.step + 1):
            if step > 0:
                self._advance()
            for reading, records in itertools.groupby(due.get(step, ()), key=lambda record: record.clock):
                with self.clock.rewound_to(step, reading):
                    self.apply([record.request for record in records])

    def check(self, timeline: Timeline) -> None:
        """Apply all edits of a timeline in their order, on a copy.

        Raises:
            EditError: if one cannot be applied, or would leave nothing to train.
        """
        end = copy.deepcopy(self)
        # Conditions come true after an evaluation, and so never before what is due at the beginning.
        states = _States() if self.clock.step in timeline.due else _States(self)
        for num_applied, (step, requests) in enumerate(timeline.due.items(), start=1):
            end.clock.set_step(step)
            end.apply(requests)
            if timeline.conditional:
                states.add(end, num_applied)
        for entry in timeline.conditional:
            self._check_conditional(entry, states, timeline)

    def _check_conditional(self, entry: TimelineEntry, states: _States, timeline: Timeline) -> None:
        """Apply a conditional entry wherever it may come, and what is planned for later after it.

        It is tried after each planned edit, there also after each other condition, and after all of them.

        Args:
            entry: what is checked.
            states: the run after the planned edits of each step, and before the first ones unless it begins with them.
            timeline: what else there is.
        Raises:
            EditError: if it can never be applied, or not always and the entry has no on_conflict. In a fork an entry
                with on_conflict may be left from a time at which it could be.
        """
        failures: list[EditError] = []
        num_tried = 0
        others = [other.requests for other in timeline.conditional if other is not entry]
        together = [list(itertools.chain.from_iterable(others))] if len(others) > 1 else []
        planned = list(timeline.due.values())
        for num_applied, state in states.kept:
            later = planned[num_applied:]
            for before in [[], *others, *together]:
                if before and _failure(state, [before, *later]) is not None:
                    continue  # the other entry has its own check
                num_tried += 1
                if (failure := _failure(state, [before, entry.requests, *later])) is not None:
                    failures.append(failure)
        if len(failures) == num_tried and not (self.clock.step > 0 and entry.on_conflict is not None):
            raise failures[0]
        if failures and entry.on_conflict is None:
            raise EditError(
                f"{entry.label}: {entry.when} may come true when its edits, or planned ones after them, cannot be "
                f"applied: {one_line(failures[0])} "
                f"Add '{ON_CONFLICT}: skip' to the entry to leave them out then, or '{ON_CONFLICT}: error' to end the "
                "run."
            )

    @property
    def structure(self) -> tuple[Any, ...]:
        """What decides whether an edit can be applied: parameters, their shapes, whether they train, and settings."""
        model = self.encoder_with_head
        parameters = ((name, tuple(each.shape), each.requires_grad) for name, each in model.named_parameters())
        return (*parameters, repr(model.config.to_dict()), repr(self.objective), self.collator.max_length)

    def walk(self, timeline: Timeline) -> Iterator[StepPlan]:
        """Yield every step of the run, from here to its end; conditional edits do not come.

        Raises:
            EditError: if an edit cannot be applied, or would leave nothing to train.
        """
        while True:
            self.apply(timeline.due.get(self.clock.step, ()))
            if self.clock.step >= self.clock.total_steps:
                return
            yield self._plan()
            self._advance()

    def apply(self, requests: Sequence[EditRequest]) -> None:
        """Apply edits as a run does, all that concerns processes and weights left out.

        Raises:
            EditError: if one cannot be applied, or needs values.
        """
        if requests:
            self._known = None
            self.fresh.clear()
            for request in requests:
                try:
                    self.journal.append(apply_edit(self, request))
                except (RuntimeError, NotImplementedError) as error:
                    if "meta" not in str(error):
                        raise
                    raise EditError(
                        f"The edit '{request.name}' reads values, which parameters do not have before training "
                        f"({one_line(error)}); let it leave that out where parameter.is_meta."
                    ) from error
            refuse_nothing_to_train(self)

    def apply_all(self, planned: Sequence[Sequence[EditRequest]]) -> None:
        """Apply the edits of several boundaries, one after the other.

        Raises:
            EditError: as `apply`.
        """
        for requests in planned:
            self.apply(requests)

    def _advance(self) -> None:
        clock = self.clock
        if self.config.schedule_interval == "step":
            self._move_rates()
        clock.advance(clock.batch_size)
        if clock.step_in_epoch == clock.steps_per_epoch:
            clock.next_epoch()
            if self.config.schedule_interval == "epoch":
                self._move_rates()

    def _move_rates(self) -> None:
        self.schedule.step()
        apply_schedule(self.optimizer, self.schedule)

    def _plan(self) -> StepPlan:
        if self._known is None:
            model = self.encoder_with_head
            blocks = model_blocks(model.encoder, model.head)
            trains = [name for name, members in blocks if any(parameter.requires_grad for _, parameter in members)]
            self._known = count_parameters(model)[0], tuple(trains)
        return StepPlan(self.clock.step + 1, learning_rates(self.optimizer), *self._known)


class _States:
    """A run at several points of its timeline: at the first and the last of those that follow each other and are alike.

    What cannot be applied at one between them cannot at the first, after which more is planned; and what can be applied
    at one of them can at the last. A timeline that repeats an edit hundreds of times takes no longer for it.

    Args:
        start: the run before any planned edit, if that is one of the points.
    """

    def __init__(self, start: Rehearsal | None = None) -> None:
        self.kept: list[tuple[int, Rehearsal]] = []
        """How many steps with planned edits lie behind, and the run there."""
        self._structures: list[tuple[Any, ...]] = []
        if start is not None:
            self.add(start, 0)

    def add(self, state: Rehearsal, num_applied: int) -> None:
        """Add a copy of the run at its next point."""
        structure = state.structure
        if self._structures[-2:] == [structure, structure]:
            del self.kept[-1], self._structures[-1]
        self.kept.append((num_applied, copy.deepcopy(state)))
        self._structures.append(structure)


def _failure(state: Rehearsal, boundaries: Sequence[Sequence[EditRequest]]) -> EditError | None:
    """Return why the edits of some boundaries cannot be applied one after the other, or None if they can."""
    tried = copy.deepcopy(state)
    try:
        tried.apply_all(boundaries)
    except EditError as error:
        return error
    return None


def _not_there(owner: str, name: str, protocol: type) -> str:
    """Return what to say of an attribute that a run has and its rehearsal does not."""
    members = sorted({*protocol.__annotations__, *(each for each in vars(protocol) if not each.startswith("_"))})
    return (
        f"{owner}.{name} is not there for an edit, which runs once more before training, without weights and rows. "
        f"It can use: {', '.join(members)}."
    )
