"""Types of settings: check values against them, and describe them in error messages."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal


def alternatives(type_hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type: the members of a union, the values of a literal, or the type itself."""
    if isinstance(type_hint, types.UnionType) or typing.get_origin(type_hint) is typing.Union:
        return tuple(member for part in typing.get_args(type_hint) for member in alternatives(part))
    return typing.get_args(type_hint) if typing.get_origin(type_hint) is Literal else (type_hint,)


def describe_type(type_hint: Any) -> str:
    """Describe the values that a type accepts: "adamw or sgd", "of type int or null", "a list"."""
    *preceding, last = map(_describe_member, alternatives(type_hint))
    return f"{', '.join(preceding)} or {last}" if preceding else last


def accepts(type_hint: Any, value: Any) -> bool:
    """Return whether a value has a type. An int is accepted as a float; a bool is not accepted as a number."""
    return any(_member_accepts(member, value) for member in alternatives(type_hint))


def _describe_member(member: Any) -> str:
    if member is type(None):
        return "null"
    if isinstance(member, str):
        return member
    python_type = typing.get_origin(member) or member
    name = getattr(python_type, "__name__", python_type)
    return {list: "a list", dict: "a mapping"}.get(python_type, f"of type {name}")


def _member_accepts(member: Any, value: Any) -> bool:
    if isinstance(member, str):
        return bool(value == member)
    if member in (int, float):
        return isinstance(value, int | member) and not isinstance(value, bool)
    return isinstance(value, typing.get_origin(member) or member)
