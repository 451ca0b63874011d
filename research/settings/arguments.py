"""Split a command line into flags with their values, in the given order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heads.registry import UnknownNameError, describe_unknown

HELP = "help"


@dataclass(frozen=True)
class Flag:
    """One flag, with one value."""

    name: str
    """Part of the flag before the dot, with underscores and without leading hyphens; `help` for -h and --help."""
    option: str | None
    """Part of the flag after the dot, such as lstm_size in --head.lstm_size; None if there is no dot."""
    value: str
    """Value as given; `true` for a boolean flag without a value."""

    def __str__(self) -> str:
        return f"--{self.name}{'' if self.option is None else f'.{self.option}'}={self.value}"


def read_flags(
    arguments: Sequence[str],
    flag_types: Mapping[str, Any],
    *,
    with_options: Collection[str] = (),
    with_several_values: Collection[str] = (),
    positional: str | None = None,
) -> list[Flag]:
    """Return the flags of a command line: `--name value`, `--name=value`, and boolean flags without a value.

    Args:
        arguments: the arguments after the script's name.
        flag_types: the type of each flag by name.
        with_options: flags that may have an option after a dot.
        with_several_values: flags that take all values up to the next flag.
        positional: flag to which the first argument belongs if it is not a flag itself; all arguments up to the first
            flag if it is one of `with_several_values`.
    Raises:
        UnknownNameError: if a flag is unknown.
        ValueError: if a flag has no value, or a value has no flag.
    """
    flags: list[Flag] = []
    position = 0
    num_positional = 0 if positional is None else len(arguments) if positional in with_several_values else 1
    while position < min(num_positional, len(arguments)) and not arguments[position].startswith("-"):
        assert positional is not None
        flags.append(Flag(positional, None, arguments[position]))
        position += 1
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument in ("-h", "--help"):
            flags.append(Flag(HELP, None, "true"))
            continue
        if not argument.startswith("--"):
            raise ValueError(f"Expected a flag that begins with --, got '{argument}'.")
        flag_text, equals, value = argument[2:].partition("=")
        flag_text = flag_text.replace("-", "_")
        name, dot, option = flag_text.partition(".")
        if name not in flag_types or (dot and name not in with_options):
            raise UnknownNameError(
                describe_unknown("flag", f"--{flag_text}", [f"--{known}" for known in flag_types], listed_as="Flags")
            )
        values = [value]
        if not equals:
            values = _values_after(arguments[position:], flag_types[name], takes_several=name in with_several_values)
            position += len(values)
            if not values and not _is_boolean(flag_types[name]):
                raise ValueError(f"The flag --{flag_text} needs a value.")
        flags += [Flag(name, option if dot else None, value) for value in values or ["true"]]
    return flags


def _values_after(following: Sequence[str], flag_type: Any, *, takes_several: bool) -> list[str]:
    """Return the values that directly follow a flag."""
    values = []
    for argument in following:
        if argument.startswith("--") or (_is_boolean(flag_type) and argument not in _boolean_values(flag_type)):
            break
        values.append(argument)
        if not takes_several:
            break
    return values


def _is_boolean(flag_type: Any) -> bool:
    return flag_type in (bool, bool | None)


def _boolean_values(flag_type: Any) -> tuple[str, ...]:
    return ("true", "false") if flag_type is bool else ("true", "false", "null")
