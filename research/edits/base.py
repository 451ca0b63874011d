"""What an edit is: a function that changes the model, or how it is trained, between two steps."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from heads.registry import Registry, UnknownNameError, describe_unknown
from research.data.batches.collate import Collator
from research.edits.entries import given_arguments
from research.edits.keywords import KEYWORDS
from research.edits.records import EditRequest
from research.learning.schedules import Schedule
from research.model.encoder_with_head import EncoderWithHead
from research.settings.config import RunConfig
from research.settings.options import options_of, typed_options
from research.settings.times import Clock
from research.system.seeds import derived_seed
from research.tasks.base import Task

if TYPE_CHECKING:
    from research.edits.records import Record
    from research.learning.objectives import Objective


class EditError(ValueError):
    """An edit that cannot be applied."""


class Processes(Protocol):
    """What an edit may ask of `run.accelerator`."""

    @property
    def device(self) -> torch.device:
        """Where this process's model is."""
        ...

    @property
    def num_processes(self) -> int:
        """How many processes train together."""
        ...

    @property
    def process_index(self) -> int:
        """Number of this process, from 0."""
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
    """What an edit gets: a run, or the rehearsal of one.

    A rehearsal has all modules and parameters, but no values: they are on torch's `meta` device. What it logs and says
    is dropped.
    """

    config: RunConfig
    """The settings that the run began with."""
    task: Task
    """What is predicted."""
    optimizer: torch.optim.Optimizer
    """One parameter group per block and weight decay yes or no; `base_lr` is the rate that the schedule multiplies."""
    schedule: Schedule
    """Factor on every group's base rate."""
    objective: Objective
    """What is minimised."""
    clock: Clock
    """Where the run is."""
    applying: EditRequest | None
    """The edit that is being applied."""
    fresh: set[nn.Parameter]
    """Parameters that the edits of this boundary made or initialised anew."""

    @property
    def journal(self) -> list[Record]:
        """The edits that were applied."""
        ...

    @property
    def collator(self) -> Collator:
        """Makes training batches of rows; its `max_length` may change."""
        ...

    @property
    def accelerator(self) -> Processes:
        """This process's number, the number of processes, precision and device."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The encoder's."""
        ...

    @property
    def encoder_with_head(self) -> EncoderWithHead:
        """The model without wrappers."""
        ...

    @property
    def model(self) -> nn.Module:
        """The model as it trains: wrapped for several processes where there are."""
        ...

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and talks to the user."""
        ...

    def log(self, values: dict[str, float]) -> None:
        """Add values to this step's line in metrics.jsonl and the trackers."""

    def print(self, message: str) -> None:
        """Tell the user something, once over all processes."""

    def shared_random_numbers(self) -> AbstractContextManager[None]:
        """Draw the same random numbers on every process inside; in an edit all random numbers are."""
        ...


EditFunction = Callable[..., None]
EDITS: Registry[EditFunction] = Registry("edit", built_in="research.edits.builtin")
HARMLESS: set[str] = set()
"""Edits that change neither which parameters there are nor which of them train."""


def register_edit(name: str, *, changes_parameters: bool = True) -> Callable[[EditFunction], EditFunction]:
    """Return a decorator that registers a function `(run, ...)` as an edit.

    The function runs on every process, and once more, before training, in a rehearsal without weights. A resumed run or
    a fork runs it again before it loads the weights. So what it does may depend on its arguments, the modules of the
    model, the clock and torch's random numbers, whose seed is the run's and the edit's number, but not on the values of
    weights. The parameters after `run` are the edit's arguments.

    Args:
        name: as in a timeline.
        changes_parameters: whether it adds, removes, freezes or unfreezes parameters; a compiled model is compiled
            again after such an edit.
    Raises:
        ValueError: if the name is taken, or is an entry's word for a time.
    """
    if name in KEYWORDS:
        raise ValueError(f"An edit cannot be called '{name}': a timeline's entry uses the word for something else.")

    def decorate(function: EditFunction) -> EditFunction:
        if not changes_parameters:
            HARMLESS.add(name)
        return EDITS.register(name)(function)

    return decorate


def request_edit(name: str, value: Any, asked_by: str) -> EditRequest:
    """Return the request that a timeline's `name: value` stands for.

    Args:
        name: registered name.
        value: a mapping of arguments, or the first argument alone; true or null for an edit without arguments.
        asked_by: who asked.
    Raises:
        UnknownNameError: if there is no such edit or argument.
        ValueError: if an argument is missing, or not of its type.
    """
    given = given_arguments(name, arguments_of(name), value)
    return _typed_request(name, given, asked_by)


def bind_request(name: str, positional: tuple[Any, ...], named: dict[str, Any], asked_by: str) -> EditRequest:
    """Return the request that a call from Python stands for.

    Raises:
        UnknownNameError: if there is no such edit or argument.
        ValueError: if an argument is missing, given twice, or not of its type.
    """
    names = [option.name for option in arguments_of(name)]
    if len(positional) > len(names):
        raise ValueError(f"The edit '{name}' takes {len(names)} arguments ({', '.join(names)}), got {len(positional)}.")
    given = dict(zip(names, positional, strict=False))
    if twice := sorted(given.keys() & named.keys()):
        raise ValueError(f"The edit '{name}' got its argument {twice[0]} twice.")
    return _typed_request(name, given | named, asked_by)


def _typed_request(name: str, given: dict[str, Any], asked_by: str) -> EditRequest:
    arguments = typed_options(f"edit '{name}'", arguments_of(name), given, "argument")
    for argument, value in arguments.items():
        if not _survives_json(value):
            raise ValueError(
                f"The edit '{name}' would get {value!r} as its argument {argument}, which the journal cannot give back "
                "to a resumed run: annotate it with int, float, bool, str, Literal, or a list or dict of these."
            )
    return EditRequest(name, arguments, asked_by)


def _survives_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def arguments_of(name: str) -> tuple[Any, ...]:
    """Return an edit's arguments: the parameters after the first one.

    Raises:
        UnknownNameError: if there is no such edit.
    """
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    first = next(iter(inspect.signature(EDITS[name]).parameters), "")
    return options_of(EDITS[name], kinds=kinds, given_by_caller=(first,))


class EditProxy:
    """`run.edit`: asks for edits by name, `run.edit.unfreeze("encoder.layer[-2:]")`.

    Args:
        ask: takes the request.
        asked_by: returns who is asking.
    """

    def __init__(self, ask: Callable[[EditRequest], None], asked_by: Callable[[], str]) -> None:
        self._ask = ask
        self._asked_by = asked_by

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in EDITS:
            raise UnknownNameError(describe_unknown("edit", name, EDITS))

        def ask(*positional: Any, **named: Any) -> None:
            self._ask(bind_request(name, positional, named, self._asked_by()))

        return ask


def digest(requests: list[EditRequest]) -> int:
    """Return a number that says which edits were asked for, 0 for none; equal ones give equal numbers."""
    if not requests:
        return 0
    text = json.dumps([[request.name, request.arguments] for request in requests], sort_keys=True, default=repr)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") or 1


@contextmanager
def random_numbers_of(seed: int, number: int, device: torch.device) -> Iterator[None]:
    """Draw from the generator of one edit inside, and leave the training's random state as it was.

    Args:
        seed: the run's seed.
        number: the edit's number in the journal, from 1.
        device: where the model is.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(derived_seed(seed, number))
        yield
