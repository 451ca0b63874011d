"""The registry of edits (functions that change the model or its training between two steps), and their interface."""

from __future__ import annotations

import hashlib
import inspect
import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from heads.registry import Registry, UnknownNameError, describe_unknown
from research.data.batches.collate import Collator
from research.edits.entries import given_arguments
from research.edits.keywords import KEYWORDS
from research.edits.records import EditRequest
from research.learning.optimizers.base import OptimizerKind
from research.learning.schedules import Schedule
from research.model.encoder_with_head import EncoderWithHead
from research.settings.config import RunConfig
from research.settings.options import Option, convert_options, options_of
from research.settings.times import Clock
from research.system import random_states
from research.system.seeds import derive_seed
from research.system.sharded_random import drawing_the_same
from research.tasks.base import Task

if TYPE_CHECKING:
    from research.edits.records import Record
    from research.learning.objectives import Objective


class EditError(ValueError):
    """An edit that cannot be applied."""


class Processes(Protocol):
    """The part of `run.accelerator` that edits may use."""

    @property
    def device(self) -> torch.device:
        """The device of this process's model."""
        ...

    @property
    def num_processes(self) -> int:
        """Number of processes that train together."""
        ...

    @property
    def process_index(self) -> int:
        """Index of this process, from 0."""
        ...

    @property
    def is_main_process(self) -> bool:
        """Whether this is process 0."""
        ...

    @property
    def mixed_precision(self) -> str:
        """Floating-point precision of the forward pass: no, bf16 or fp16."""
        ...


class Editable(Protocol):
    """The first argument of every edit: a run or the rehearsal of a run.

    In a rehearsal, all modules and parameters exist, but the parameters have no values: they are on torch's `meta`
    device. Values that an edit logs and messages that it prints in a rehearsal are dropped.
    """

    config: RunConfig
    """The settings with which the run started."""
    task: Task
    """The kind of labels, and how they are predicted and scored."""
    optimizer: torch.optim.Optimizer
    """The optimizer. A block has parameter groups with and without weight decay. The learning rate of a group is its
    `base_lr` times the schedule's factor."""
    optimizer_kind: OptimizerKind
    """The kind of the optimizer, with its options."""
    schedule: Schedule
    """The schedule: a factor for the base learning rate of every parameter group."""
    objective: Objective
    """The loss function that is minimised."""
    clock: Clock
    """The run's position: steps taken, current epoch, and steps taken in that epoch."""
    applying: EditRequest | None
    """The edit that is being applied; None outside edits."""
    new_parameters: set[nn.Parameter]
    """Parameters whose optimizer state is dropped, because the edits after this step have created, reinitialised or
    merged them."""

    @property
    def journal(self) -> list[Record]:
        """The records of all edits so far, including skipped edits."""
        ...

    @property
    def collator(self) -> Collator:
        """Makes training batches from rows. Edits may change its `max_length`."""
        ...

    @property
    def accelerator(self) -> Processes:
        """Process index, number of processes, precision and device."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The encoder's tokenizer."""
        ...

    @property
    def encoder_with_head(self) -> EncoderWithHead:
        """The model without wrappers."""
        ...

    @property
    def model(self) -> nn.Module:
        """The model as it trains: wrapped in DDP if there are several processes."""
        ...

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes files and prints messages."""
        ...

    def replace_optimizer(self, kind: OptimizerKind, optimizer: torch.optim.Optimizer) -> None:
        """Train with another optimizer from now on. The model keeps the weights that were evaluated and saved so far.

        Args:
            kind: kind of the new optimizer.
            optimizer: the new optimizer, which `kind` has created for the model's current parameters.
        """

    def log(self, values: dict[str, float]) -> None:
        """Add values to this step's line in metrics.jsonl and to the trackers."""

    def print(self, message: str) -> None:
        """Print a message for the user, once for all processes."""

    def shared_random_numbers(self) -> AbstractContextManager[None]:
        """Return a context in which all processes draw the same random numbers. In an edit, they do so anyway."""
        ...


EditFunction = Callable[..., None]
EDITS: Registry[EditFunction] = Registry("edit", built_in="research.edits.builtin")
Touches = Literal["nothing", "mask", "modules", "values", "structure"]
"""What an edit changes in the model: no parameters, only which parameters train, modules without the values of the
parameters that stay, only values (in place), or anything."""
TOUCHES: dict[str, Touches] = {}
"""What each edit changes, by the name of the edit."""


def touched_by(requests: Iterable[EditRequest]) -> Touches:
    """Return what all of the edits together change."""
    order, touched = get_args(Touches), {TOUCHES[request.name] for request in requests}
    return "structure" if {"modules", "values"} <= touched else max(touched, key=order.index, default="nothing")


def register_edit(name: str, *, touches: Touches = "structure") -> Callable[[EditFunction], EditFunction]:
    """Return a decorator that registers a function `(run, ...)` as an edit.

    The parameters after `run` are the edit's arguments. The function is called on every process. It is also called
    before training, in rehearsals without weights, and by a resumed run or a fork before the weights are loaded. Its
    effect may therefore depend only on its arguments, the modules of the model, the clock and random numbers (those of
    torch, NumPy and `random`), not on the values of weights. The random numbers are seeded with the run's seed and the
    number of the edit.

    Args:
        name: the edit's name in timelines and in `run.edit`.
        touches: what the edit changes in the model: `nothing`, such as a learning rate; `mask`, which parameters train;
            `modules`, which modules there are, and which parameters train, but not the values of parameters that stay;
            `values`, the values of parameters in place; `structure`, anything. After `mask`, `modules` and
            `structure`, a compiled model is compiled again. With `--shard`, each process holds only a part of each
            parameter: for edits of values and of the structure, every process gathers the whole model.
    Raises:
        ValueError: if the name is taken, or is a keyword of timeline entries (at, every, when, on_conflict), or
            `touches` is unknown.
    """
    if name in KEYWORDS:
        raise ValueError(f"An edit cannot be called '{name}', which is a keyword of timeline entries.")

    if touches not in get_args(Touches):
        raise ValueError(f"Expected touches of the edit '{name}' to be one of {get_args(Touches)}, got {touches!r}.")

    def decorate(function: EditFunction) -> EditFunction:
        registered = EDITS.register(name)(function)
        TOUCHES[name] = touches
        return registered

    return decorate


def parse_request(name: str, value: Any, requested_by: str) -> EditRequest:
    """Parse an edit written as `name: value` in a timeline, and return the request for it.

    Args:
        name: registered name of the edit.
        value: a dict of arguments, or the first argument alone; true or null to give no arguments.
        requested_by: origin of the request, for messages and the journal.
    Raises:
        UnknownNameError: if there is no such edit or argument.
        ValueError: if an argument is missing or has the wrong type.
    """
    given = given_arguments(name, arguments_of(name), value)
    return _build_request(name, given, requested_by)


def bind_request(name: str, positional: tuple[Any, ...], named: dict[str, Any], requested_by: str) -> EditRequest:
    """Return the request for an edit called from Python.

    Args:
        name: registered name of the edit.
        positional: positional arguments of the call.
        named: keyword arguments of the call.
        requested_by: origin of the request, for messages and the journal.
    Raises:
        UnknownNameError: if there is no such edit or argument.
        ValueError: if an argument is missing, given twice or has the wrong type.
    """
    names = [option.name for option in arguments_of(name)]
    if len(positional) > len(names):
        raise ValueError(f"The edit '{name}' takes {len(names)} arguments ({', '.join(names)}), got {len(positional)}.")
    given = dict(zip(names, positional, strict=False))
    if twice := sorted(given.keys() & named.keys()):
        raise ValueError(f"The edit '{name}' got its argument {twice[0]} twice: by position and by name.")
    return _build_request(name, given | named, requested_by)


def _build_request(name: str, given: dict[str, Any], requested_by: str) -> EditRequest:
    arguments = convert_options(f"edit '{name}'", arguments_of(name), given, "argument")
    for argument, value in arguments.items():
        if not _survives_json(value):
            raise ValueError(
                f"The edit '{name}' got {value!r} for its argument {argument}, which the journal cannot store for a "
                "resumed run: annotate the argument with int, float, bool, str, Literal, or a list or dict of these."
            )
    return EditRequest(name, arguments, requested_by)


def _survives_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def arguments_of(name: str) -> tuple[Option, ...]:
    """Return an edit's arguments: the function's parameters after the first one.

    Raises:
        UnknownNameError: if there is no such edit.
    """
    parameter_kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    first = next(iter(inspect.signature(EDITS[name]).parameters), "")
    return options_of(EDITS[name], parameter_kinds=parameter_kinds, supplied_parameters=(first,))


class EditProxy:
    """`run.edit`: calling one of its methods requests an edit, as in `run.edit.unfreeze("encoder.layer[-2:]")`.

    Args:
        submit: function that receives the request.
        requested_by: function that returns the origin of the request.
    """

    def __init__(self, submit: Callable[[EditRequest], None], requested_by: Callable[[], str]) -> None:
        self._submit = submit
        self._requested_by = requested_by

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in EDITS:
            raise UnknownNameError(describe_unknown("edit", name, EDITS))

        def request_edit(*positional: Any, **named: Any) -> None:
            self._submit(bind_request(name, positional, named, self._requested_by()))

        return request_edit


def hash_requests(requests: list[EditRequest]) -> int:
    """Return a hash of the requested edits and their order; 0 if there are none. It fits into an int64 tensor."""
    if not requests:
        return 0
    text = json.dumps([[request.name, request.arguments] for request in requests], sort_keys=True, default=repr)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") or 1  # 0 means no requests


@contextmanager
def seeded(seed: int, number: int, device: torch.device) -> Iterator[None]:
    """Return a context in which torch, NumPy and `random` are seeded; their states are restored afterwards.

    Args:
        seed: the run's seed, or a seed derived from it.
        number: a number that selects one of the seed's streams, such as the edit's number in the journal.
        device: device of the model.
    """
    with random_states.preserving(device), drawing_the_same():
        for set_seed in (torch.manual_seed, np.random.seed, random.seed):
            set_seed(derive_seed(seed, number))
        yield
