"""Refuse what is plainly wrong before anything heavy is imported: torch and transformers take seconds."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from heads.registry import UnknownNameError, describe_unknown
from research.clock import parse_time
from research.config import Choice, RunConfig
from research.launcher import refuse_launch
from research.paths import look_up
from research.plain_text import for_message
from research.plugins import check_plugins
from research.registries import GIVEN_BY_CALLER, read_registry
from research.resuming import check_checkpoint
from research.timeline_words import WORDS, describe_unknown_edit


def check_first(config: RunConfig) -> None:
    """Refuse a launch that cannot be followed, names that nothing has, and paths where nothing is.

    Raises:
        ValueError: naming the setting and what was found.
    """
    refuse_launch()
    check_plugins(config.plugin)
    if not config.plugin:  # which may register any name
        check_names(config)
    check_times(config)
    if config.resume not in (None, "auto"):
        check_checkpoint(Path(str(config.resume)), "--resume")
    for name, value in (("data", config.data), ("encoder", config.encoder), ("init_from", config.init_from)):
        if value is not None and _is_path(name, value):
            _check_path(name, value)


def check_names(config: RunConfig) -> None:
    """Refuse names, and options of choices, that the product itself does not have.

    Raises:
        UnknownNameError: naming the nearest and all of them.
    """
    for listing, kind, choice in _choices(config):
        known = read_registry(listing)
        if choice.name not in known:
            raise UnknownNameError(describe_unknown(kind, choice.name, known))
        parameters = known[choice.name]
        for option in choice.options if parameters is not None else ():
            options = [name for name in parameters or () if name not in GIVEN_BY_CALLER]
            if option not in options:
                owner = f"option of {kind} '{choice.name}'"
                raise UnknownNameError(describe_unknown(owner, option, options, listed_as="Options"))
    edits = read_registry("edits")
    for number, entry in enumerate(config.timeline, start=1):
        for name in entry:
            if name not in edits and name not in WORDS:
                raise UnknownNameError(f"timeline entry {number}: {describe_unknown_edit(name, edits)}")


def _choices(config: RunConfig) -> Iterator[tuple[str, str, Choice]]:
    """Yield where each choice is registered, what it is, and the choice."""
    for kind in ("head", "objective", "schedule", "peft"):
        value = getattr(config, kind)
        if value is not None:
            yield f"{kind}s", kind, Choice.of(value, kind)
    for hook in config.hook:
        yield "hooks", "hook", Choice.of(hook, "hook")
    for step in config.cleaning:
        yield "cleaning", "cleaning step", Choice(step)


def check_times(config: RunConfig) -> None:
    """Refuse times that cannot be read, periods of 0, and patience with nothing to wait for.

    Raises:
        ValueError: naming the setting.
    """
    for name in ("warmup", "evaluate_every", "save_every"):
        text = getattr(config, name)
        if text is None:
            continue
        try:
            time = parse_time(text)
        except ValueError as error:
            raise ValueError(f"--{name}: {error}") from None
        if time.value == 0 and name != "warmup":
            raise ValueError(f"Expected --{name} above 0, got '{text}'; null turns it off.")
    for number, entry in enumerate(config.timeline, start=1):
        for name in ("at", "every"):
            try:
                parse_time(str(entry.get(name, "0st")))
            except ValueError as error:
                raise ValueError(f"timeline entry {number}: {error}") from None
    if config.patience is not None and config.evaluate_every is None:
        raise ValueError("--patience counts evaluations, and --evaluate_every null turns them off.")


def _is_path(name: str, value: str) -> bool:
    """Return whether a value can only be a path: a Hub id has at most one slash."""
    if name == "data":
        return not value.startswith("hub:") and value not in read_registry("data")
    return name == "init_from" or value.startswith((".", "/", "~")) or value.count("/") > 1


def _check_path(name: str, value: str) -> None:
    path = look_up(value)
    if path.exists():
        return
    try:
        near = {entry: str(path.parent / entry) for entry in os.listdir(path.parent)}
    except OSError:  # no folder either, or one that may not be read
        near = {}
    if name == "data":
        near |= {packaged: packaged for packaged in read_registry("data")}
    nearest = difflib.get_close_matches(path.name, near, n=1)
    hint = f" Did you mean '{near[nearest[0]]}'?" if nearest else ""
    raise ValueError(for_message(f"There is no file or folder '{path}' for --{name}.{hint}"))
