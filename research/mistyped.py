"""A value of the wrong type, in words: jsonargparse says what it tried, not what it wants."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentError

_SAID = re.compile(r'Parser key "(\w+)":.*(?:Got value|Given value): (.*)', re.DOTALL)


def describe_mistyped(error: ArgumentError, kinds: Mapping[str, Any]) -> str:
    """Return one line: which setting, what it takes, and what came.

    Args:
        error: what the parser raised.
        kinds: the type of each setting.
    """
    said = _SAID.search(str(error))
    if said is None:
        return " ".join(str(error).split())
    name, value = said[1], " ".join(said[2].split())
    members = _members(kinds[name])
    *others, last = map(_in_words, members)
    expected = f"{', '.join(others)} or {last}" if others else last
    values = [member for member in members if isinstance(member, str)]
    nearest = difflib.get_close_matches(value, values, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"Expected {name} to be {expected}; got '{value}'.{hint}"


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type: those of a union, the values of a literal, or itself."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return tuple(member for part in typing.get_args(kind) for member in _members(part))
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else (kind,)


def _in_words(member: Any) -> str:
    if member is type(None):
        return "null"
    if isinstance(member, str):
        return member
    return "a list" if typing.get_origin(member) is list else f"of type {member.__name__}"
