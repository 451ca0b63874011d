"""Rehearse a run without data or weights: its edits, learning rates and trainable parameters, step by step.

The functions that will change the model in the run are called on a model whose parameters have shapes but no values.
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
from research.edits.apply import apply_edit, check_has_trainable_parameters
from research.edits.base import Editable, EditError, Processes
from research.edits.keywords import ON_CONFLICT
from research.edits.records import EditRequest, Parent, Record
from research.edits.timeline import Timeline, TimelineEntry
from research.learning.logged_names import check_reserved_names
from research.learning.objectives import Objective
from research.learning.optimizer import apply_schedule, choose_optimizer, create_optimizer, learning_rates
from research.learning.optimizers.base import OptimizerKind
from research.learning.schedules import Schedule, create_schedule
from research.model.build_model import build_model
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import model_blocks
from research.model.parameters import count_parameters
from research.settings.config import RunConfig
from research.settings.times import Clock
from research.system.errors import one_line
from research.system.launcher import num_launched_processes
from research.tasks.base import Task


@dataclass(frozen=True)
class StepPlan:
    """The plan of one step."""

    step: int
    """Number of the step, from 1."""
    learning_rates: dict[str, float]
    """Learning rate of each block."""
    trainable_parameters: int
    """Number of trainable parameters."""
    trainable_blocks: tuple[str, ...]
    """Blocks with at least one trainable parameter."""


@dataclass(frozen=True)
class RehearsedProcesses:
    """`run.accelerator` in a rehearsal. Each process rehearses independently of the other processes."""

    device: torch.device
    """Device of the parameters: torch's `meta` device."""
    num_processes: int
    """Number of processes that the launcher started."""
    process_index: int
    """Index of this process, from 0."""
    mixed_precision: str
    """Floating-point precision of the forward pass."""

    @property
    def is_main_process(self) -> bool:
        """Whether this is process 0."""
        return self.process_index == 0

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_describe_missing("run.accelerator", name, Processes))


@dataclass
class Rehearsal:
    """A rehearsal of a run: everything that edits may use and change (see `Editable`), without values of weights."""

    config: RunConfig
    """The settings."""
    task: Task
    """The kind of labels, and how they are predicted and scored."""
    objective: Objective
    """The loss function that is minimised."""
    collator: Collator
    """The collator, whose `max_length` edits may change."""
    clock: Clock
    """The rehearsal's position."""
    schedule: Schedule
    """The schedule: a factor for the base learning rate of every parameter group."""
    encoder_with_head: EncoderWithHead
    """The model, without values."""
    optimizer: torch.optim.Optimizer
    """The run's optimizer, which takes no steps."""
    optimizer_kind: OptimizerKind
    """The kind of the optimizer, with its options."""
    original_tokenizer: PreTrainedTokenizerBase
    """The run's tokenizer, which a rehearsal does not change."""
    journal: list[Record] = field(default_factory=list)
    """The records of all edits so far."""
    applying: EditRequest | None = None
    """The edit that is being applied; None outside edits."""
    new_parameters: set[nn.Parameter] = field(default_factory=set)
    """Parameters that the latest edits, all of one boundary, have created, reinitialised or merged."""

    _trainable: tuple[int, tuple[str, ...]] | None = None
    """Number of trainable parameters and names of trainable blocks; None if they must be counted again."""

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
        optimizer_kind: OptimizerKind | None = None,
    ) -> Rehearsal:
        """Return the rehearsal of a run before its first step.

        No argument is changed, except `outline`.

        Args:
            config: the run's settings.
            task: the run's task.
            objective: the run's objective.
            collator: the run's collator.
            clock: the run's clock.
            tokenizer: the encoder's tokenizer.
            outline: the model without values, which the rehearsal changes; None builds a new one.
            optimizer_kind: the kind of the run's optimizer at its start; None creates it from the settings.
        """
        model = outline
        if model is None:
            model = build_model(config, task, vocabulary_size=len(tokenizer), with_weights=False)
        schedule = create_schedule(config, clock)
        kind = optimizer_kind or choose_optimizer(config)
        optimizer = create_optimizer(model_blocks(model.encoder, model.head), config, kind)
        apply_schedule(optimizer, schedule)
        parts = (copy.copy(collator), copy.copy(clock), schedule, model, optimizer, kind, tokenizer)
        return cls(config, task, objective, *parts)

    @property
    def model(self) -> nn.Module:
        """The model; in a rehearsal it has no wrappers."""
        return self.encoder_with_head

    @property
    def accelerator(self) -> RehearsedProcesses:
        """Process index, number of processes, precision and device."""
        device, rank = self.encoder_with_head.device, int(os.environ.get("RANK", "0"))
        return RehearsedProcesses(device, num_launched_processes(), rank, self.config.mixed_precision)

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes files and prints messages."""
        return self.accelerator.is_main_process

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """A copy of the encoder's tokenizer, since an edit may add tokens and will add them again in the run."""
        return copy.deepcopy(self.original_tokenizer)

    def replace_optimizer(self, kind: OptimizerKind, optimizer: torch.optim.Optimizer) -> None:
        """Use another optimizer from now on."""
        self.optimizer_kind, self.optimizer = kind, optimizer
        apply_schedule(optimizer, self.schedule)

    def log(self, values: dict[str, float]) -> None:
        """Check the names of values to log.

        Raises:
            ValueError: if the loop itself logs a value with one of these names.
        """
        check_reserved_names(values)

    def print(self, message: str) -> None:
        """Print nothing: the edit prints its message in the run."""

    @contextlib.contextmanager
    def shared_random_numbers(self) -> Iterator[None]:
        """Return a context that changes nothing: in edits, all processes draw the same random numbers anyway."""
        yield

    def __deepcopy__(self, memo: dict[int, Any]) -> Rehearsal:
        """Return a copy that shares the run's tokenizer, since copying it is slow and rarely needed."""
        memo[id(self.original_tokenizer)] = self.original_tokenizer
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        vars(copied).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return copied

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_describe_missing("run", name, Editable))

    def replay_journal(self, parent: Parent) -> None:
        """Advance to the step at which a fork starts, applying the edits in its parent's journal."""
        due: dict[int, list[Record]] = {}
        for record in parent.journal:
            if record.skipped is not None:
                continue
            due.setdefault(record.step, []).append(record)
        for step in range(parent.step + 1):
            if step > 0:
                self._advance()
            # Edits after the same step have different clocks if some of them were applied at the end of an epoch, and
            # the rest at the start of the next epoch.
            for clock_state, records in itertools.groupby(due.get(step, ()), key=lambda record: record.clock):
                with self.clock.rewound_to(step, clock_state):
                    self.apply([record.request for record in records])

    def check(self, timeline: Timeline) -> None:
        """Check that all edits of a timeline can be applied, by applying them to a copy of the rehearsal.

        Raises:
            EditError: if an edit cannot be applied, or would leave nothing to train.
        """
        rehearsed = copy.deepcopy(self)
        # The first evaluation follows the edits that are due at the start, so no condition comes true before them.
        states = _States() if self.clock.step in timeline.due else _States(self)
        for num_edited_steps, (step, requests) in enumerate(timeline.due.items(), start=1):
            rehearsed.clock.set_step(step)
            rehearsed.apply(requests)
            if timeline.conditional:
                states.add(rehearsed, num_edited_steps)
        for entry in timeline.conditional:
            self._check_conditional(entry, states, timeline)

    def _check_conditional(self, entry: TimelineEntry, states: _States, timeline: Timeline) -> None:
        """Check that a conditional entry can be applied whenever its condition may come true.

        In each of the given states, the entry is applied on its own, after each of the other conditional entries, and
        after all of them together. The edits that are planned for later steps are applied after the entry.

        Args:
            entry: the entry to check.
            states: states of the run after the planned edits of each step. If no edits are planned for the start, they
                also contain the state before any edits.
            timeline: the timeline of the entry.
        Raises:
            EditError: if the entry can never be applied, or cannot always be applied and has no on_conflict. In a fork,
                an entry with on_conflict is accepted even if it can no longer be applied.
        """
        failures: list[EditError] = []
        num_tried = 0
        others = [other.requests for other in timeline.conditional if other is not entry]
        all_others = [list(itertools.chain.from_iterable(others))] if len(others) > 1 else []
        planned = list(timeline.due.values())
        for num_edited_steps, state in states.kept:
            later = planned[num_edited_steps:]
            for earlier in [[], *others, *all_others]:
                if earlier and _find_failure(state, [earlier, *later]) is not None:
                    continue  # this fails without the entry too, and is reported when the other entry is checked
                num_tried += 1
                if (failure := _find_failure(state, [earlier, entry.requests, *later])) is not None:
                    failures.append(failure)
        is_fork = self.clock.step > 0
        if len(failures) == num_tried and not (is_fork and entry.on_conflict is not None):
            raise failures[0]
        if failures and entry.on_conflict is None:
            raise EditError(
                f"{entry.requested_by}: {entry.when} may come true when its edits, or later planned edits, cannot be "
                f"applied: {one_line(failures[0])} Add '{ON_CONFLICT}: skip' to the entry to skip them in this case, "
                f"or '{ON_CONFLICT}: error' to end the run."
            )

    @property
    def structure(self) -> tuple[Any, ...]:
        """Everything that determines whether an edit can be applied: parameters, whether they train, and settings."""
        model = self.encoder_with_head
        parameters = (
            (name, tuple(parameter.shape), parameter.requires_grad) for name, parameter in model.named_parameters()
        )
        return (*parameters, repr(model.config.to_dict()), repr(self.objective), self.collator.max_length)

    def plan_steps(self, timeline: Timeline) -> Iterator[StepPlan]:
        """Yield the plan of each step from the current one to the last; conditional edits are left out.

        Raises:
            EditError: if an edit cannot be applied, or would leave nothing to train.
        """
        while True:
            self.apply(timeline.due.get(self.clock.step, ()))
            if self.clock.step >= self.clock.total_steps:
                return
            yield self._plan_step()
            self._advance()

    def apply(self, requests: Sequence[EditRequest]) -> None:
        """Apply the edits of one boundary, as a run does, except for what involves processes or weights.

        Raises:
            EditError: if an edit cannot be applied, reads the values of parameters, or leaves nothing to train.
        """
        if requests:
            self._trainable = None
            self.new_parameters.clear()
            for request in requests:
                try:
                    self.journal.append(apply_edit(self, request))
                except (RuntimeError, NotImplementedError) as error:
                    if "meta" not in str(error):
                        raise
                    raise EditError(
                        f"The edit '{request.name}' reads values of parameters, which do not exist in the rehearsal "
                        f"before training ({one_line(error)}). Skip this part of the edit if parameter.is_meta."
                    ) from error
            check_has_trainable_parameters(self)

    def apply_all(self, planned: Sequence[Sequence[EditRequest]]) -> None:
        """Apply the edits of several boundaries, in their order.

        Args:
            planned: the edits of each boundary.
        Raises:
            EditError: see `apply`.
        """
        for requests in planned:
            self.apply(requests)

    def _advance(self) -> None:
        clock = self.clock
        if self.config.schedule_interval == "step":
            self._step_schedule()
        clock.advance(clock.batch_size)
        if clock.step_in_epoch == clock.steps_per_epoch:
            clock.start_next_epoch()
            if self.config.schedule_interval == "epoch":
                self._step_schedule()

    def _step_schedule(self) -> None:
        self.schedule.step()
        apply_schedule(self.optimizer, self.schedule)

    def _plan_step(self) -> StepPlan:
        if self._trainable is None:
            model = self.encoder_with_head
            blocks = model_blocks(model.encoder, model.head)
            trained = [name for name, members in blocks if any(parameter.requires_grad for _, parameter in members)]
            self._trainable = count_parameters(model)[0], tuple(trained)
        return StepPlan(self.clock.step + 1, learning_rates(self.optimizer), *self._trainable)


class _States:
    """States of a run along its timeline, without those that need no check.

    If consecutive states have the same structure, only the first and the last of them are kept. The states in between
    need no check, because an entry is tried together with the edits that are planned after a state. More edits are
    planned after the first state, so an entry that fails in between also fails there. Fewer are planned after the last
    state, so an entry that succeeds in between also succeeds there. Therefore a timeline that repeats an edit hundreds
    of times does not take longer to check.

    Args:
        start: the run before any planned edit, if conditions may come true there.
    """

    def __init__(self, start: Rehearsal | None = None) -> None:
        self.kept: list[tuple[int, Rehearsal]] = []
        """Number of steps with planned edits before each kept state, and the state."""
        self._structures: list[tuple[Any, ...]] = []
        if start is not None:
            self.add(start, 0)

    def add(self, state: Rehearsal, num_edited_steps: int) -> None:
        """Add a copy of the run's next state."""
        structure = state.structure
        if self._structures[-2:] == [structure, structure]:
            del self.kept[-1], self._structures[-1]
        self.kept.append((num_edited_steps, copy.deepcopy(state)))
        self._structures.append(structure)


def _find_failure(state: Rehearsal, planned: Sequence[Sequence[EditRequest]]) -> EditError | None:
    """Apply the edits of several steps to a copy of a state; return the error if one fails, otherwise None."""
    rehearsed = copy.deepcopy(state)
    try:
        rehearsed.apply_all(planned)
    except EditError as error:
        return error
    return None


def _describe_missing(expression: str, name: str, protocol: type) -> str:
    """Return the error message for an attribute, of `run` or `run.accelerator`, that edits cannot use."""
    members = sorted({*protocol.__annotations__, *(member for member in vars(protocol) if not member.startswith("_"))})
    return (
        f"Edits cannot use {expression}.{name}: they are rehearsed before training, without weights or rows. "
        f"Available: {', '.join(members)}."
    )
