"""Settings of a script itself, beside those of a run: a study's, a further worker's."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from research.settings.arguments import Flag
from research.settings.declarations import declarations
from research.settings.type_errors import describe_mistyped

Group = TypeVar("Group")


def take_out(group: type, flags: Sequence[Flag]) -> tuple[dict[str, list[str]], list[Flag]]:
    """Return the values that were typed for a group's settings, in their order, and the flags of everything else."""
    names = declarations(group)
    given: dict[str, list[str]] = {}
    for flag in flags:
        if flag.name in names:
            given.setdefault(flag.name, []).append(flag.value)
    return given, [flag for flag in flags if flag.name not in names]


def typed_group(group: type[Group], given: Mapping[str, Sequence[str]]) -> Group:
    """Return a group's settings; of several values of a flag the last counts.

    Args:
        group: the settings' dataclass.
        given: what was typed for each.
    Raises:
        ValueError: for a value of the wrong type, or out of its bounds.
    """
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(group)
    plain: type = group
    declared, kinds = declarations(plain), typing.get_type_hints(group)
    values = {}
    for name, texts in given.items():
        bounds = declared[name].bounds
        try:
            values[name] = parser.parse_args([f"--{name}={texts[-1]}"])[name]
        except ArgumentError as error:
            if bounds is None:
                raise ValueError(describe_mistyped(error, kinds)) from None
            values[name] = None
        if bounds is not None and (values[name] is None or not bounds.contain(values[name])):
            raise ValueError(f"Expected --{name} as a number {bounds}, got '{texts[-1]}'.")
    return group(**values)
