"""Check choices, such as --head lstm, against the source code of the built-in heads, hooks and so on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heads.registry import UnknownNameError, describe_unknown
from research.runner.first_checks.source_options import check_values, read_options
from research.settings.config import Choice, RunConfig
from research.settings.flags import CHOICE_SETTINGS
from research.settings.options import convert_options
from research.settings.registries import STEP_COUNT_PARAMETERS, read_registry


def check_choices(config: RunConfig) -> None:
    """Check that the chosen entries and their options exist, and that the entries accept the options' values.

    Raises:
        UnknownNameError: if a name or option is unknown; the message suggests the nearest name and lists all names.
        ValueError: if a value is invalid.
    """
    if config.task is not None and config.task not in (known := read_registry("tasks")) and not config.plugin:
        raise UnknownNameError(describe_unknown("task", config.task, known))
    if config.peft is not None and Choice.of(config.peft, "peft").name == "prefix_tuning":
        raise ValueError(
            "Prefix tuning is not supported, because most encoders take no keys and values as inputs. Use --peft "
            "prompt_tuning, which learns embeddings in front of each row, or --peft lora."
        )
    for listing, kind, choice in _choices(config):
        check_choice(listing, kind, choice, allow_unregistered=bool(config.plugin))


def check_choice(listing: str, kind: str, choice: Choice, *, allow_unregistered: bool) -> None:
    """Check one choice, as described in `check_choices`.

    Args:
        listing: the registry, as a value of --list.
        kind: kind of the choice, for messages.
        choice: name and options.
        allow_unregistered: whether plugins may register more names.
    """
    known = read_registry(listing)
    if choice.name not in known:
        if allow_unregistered:
            return
        raise UnknownNameError(describe_unknown(kind, choice.name, known))
    function, owner = known[choice.name], f"{kind} '{choice.name}'"
    options = [option for option in read_options(function) if option.name not in STEP_COUNT_PARAMETERS]
    values = convert_options(owner, options, choice.options)
    try:
        check_values(function, values)
    except ValueError as error:
        if allow_unregistered and isinstance(error, UnknownNameError):
            return  # it may be a metric of a task that a plugin registers
        raise type(error)(f"The {owner}: {error}") from None


def _choices(config: RunConfig) -> Iterator[tuple[str, str, Choice]]:
    """Yield (listing, kind, choice) for every choice in the settings."""
    for kind in CHOICE_SETTINGS:
        value: Any = getattr(config, kind)
        if value is not None:
            yield f"{kind}s", kind, Choice.of(value, kind)
    for hook in config.hook:
        yield "hooks", "hook", Choice.of(hook, "hook")
    for step in config.cleaning:
        yield "cleaning", "cleaning step", Choice(step)
