"""Types of settings: check values against them, and describe them in error messages."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type: the members of a union, the values of a literal, or the type itself."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return tuple(member for part in typing.get_args(kind) for member in alternatives(part))
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else (kind,)


def describe_type(kind: Any) -> str:
    """Describe the values that a type accepts: "adamw or sgd", "of type int or null", "a list"."""
    *preceding, last = map(_describe_member, alternatives(kind))
    return f"{', '.join(preceding)} or {last}" if preceding else last


def accepts(kind: Any, value: Any) -> bool:
    """Return whether a value has a type. An int is accepted as a float; a bool is not accepted as a number."""
    return any(_member_accepts(member, value) for member in alternatives(kind))


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
