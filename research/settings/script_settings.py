"""Settings of a script that are not settings of a run, such as those of a study or of an additional worker."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from research.settings.arguments import Flag
from research.settings.declarations import declarations
from research.settings.type_errors import describe_type_error

Group = TypeVar("Group")


def split_flags(group: type, flags: Sequence[Flag]) -> tuple[dict[str, list[str]], list[Flag]]:
    """Separate the flags of a group: return the values typed for each of its settings, and all other flags."""
    names = declarations(group)
    flag_texts: dict[str, list[str]] = {}
    for flag in flags:
        if flag.name in names:
            flag_texts.setdefault(flag.name, []).append(flag.value)
    return flag_texts, [flag for flag in flags if flag.name not in names]


def parse_group(group: type[Group], flag_texts: Mapping[str, Sequence[str]]) -> Group:
    """Return a group's settings; if a flag is repeated, its last value counts.

    Args:
        group: the dataclass of the settings.
        flag_texts: the values typed for each setting.
    Raises:
        ValueError: if a value has the wrong type or is out of bounds.
    """
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(group)
    group_type: type = group
    declared, kinds = declarations(group_type), typing.get_type_hints(group)
    values = {}
    for name, texts in flag_texts.items():
        bounds = declared[name].bounds
        try:
            values[name] = parser.parse_args([f"--{name}={texts[-1]}"])[name]
        except ArgumentError as error:
            if bounds is None:
                raise ValueError(describe_type_error(error, kinds)) from None
            values[name] = None
        if bounds is not None and (values[name] is None or not bounds.contain(values[name])):
            raise ValueError(f"Expected --{name} to be a number that is {bounds}; got '{texts[-1]}'.")
    return group(**values)
