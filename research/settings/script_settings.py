"""Settings of a script that are not settings of a run, such as those of a study or of an additional worker."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from research.settings.arguments import Flag
from research.settings.declarations import declarations
from research.settings.list_values import split_items
from research.settings.type_errors import describe_type_error
from research.settings.value_types import alternatives

Group = TypeVar("Group")


def split_flags(group: type, flags: Sequence[Flag]) -> tuple[dict[str, list[str]], list[Flag]]:
    """Separate the flags of a group: return the values given for each of its settings, and all other flags."""
    names = declarations(group)
    given_values: dict[str, list[str]] = {}
    for flag in flags:
        if flag.name in names:
            given_values.setdefault(flag.name, []).append(flag.value)
    return given_values, [flag for flag in flags if flag.name not in names]


def parse_group(group: type[Group], given_values: Mapping[str, Sequence[str]]) -> Group:
    """Return a group's settings; if a flag is repeated, its last value counts, and the values of a list are joined.

    Args:
        group: the dataclass of the settings.
        given_values: the values that the command line gives for each setting, in order.
    Raises:
        ValueError: if a value has the wrong type or is out of bounds.
    """
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(group)
    group_type: type = group
    declared, types_by_name = declarations(group_type), typing.get_type_hints(group)
    values = {}
    for name, given in given_values.items():
        last_value, bounds = given[-1], declared[name].bounds
        try:
            if typing.get_origin(types_by_name[name]) is list:
                arguments = [f"--{name}+={item}" for value in given for item in split_items(name, value)]
            else:
                arguments = [f"--{name}={last_value}"]
            values[name] = parser.parse_args(arguments)[name]
        except ArgumentError as error:
            if bounds is None:
                raise ValueError(describe_type_error(error, types_by_name)) from None
            values[name] = None  # rejected below, with the bounds in the message
        words = [member for member in alternatives(types_by_name[name]) if isinstance(member, str)]
        value = values[name]
        if bounds is not None and value not in words and (value is None or not bounds.contain(value)):
            expected = " or ".join([*words, f"a number that is {bounds}"])
            raise ValueError(f"Expected --{name} to be {expected}; got '{last_value}'.")
    return group(**values)
