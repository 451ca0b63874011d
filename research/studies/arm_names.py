"""Names of a study's arms, built from the settings in which the arms differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from research.edits.keywords import DUE_KEYWORDS, ON_CONFLICT
from research.settings.flags import declaration_of, names_where, setting_types
from research.system.plain_text import for_terminal


def arm_name(axes: Mapping[str, Any], varied_axes: Sequence[str]) -> str:
    """Return the name of an arm: its value on each varied axis; empty if no axis is varied.

    A value is preceded by the name of its setting unless it is clear by itself, such as the name of a head.
    """
    axes_without_name = ("arm", "recipe", *names_where(lambda declared: declared.value_names_arm))
    values = {
        axis: axes[axis] if axis == "arm" else describe_value(axes[axis], is_path=_is_path(axis))
        for axis in varied_axes
    }
    return ", ".join(value if axis in axes_without_name else f"{axis}={value}" for axis, value in values.items())


def _is_path(axis: str) -> bool:
    """Return whether the values of an axis may be paths, which are shortened to the names of their files."""
    return axis == "recipe" or (axis in setting_types() and declaration_of(axis).input_path is not None)


def describe_value(value: Any, *, is_path: bool = False) -> str:
    """Return a value of a setting as it is shown in names and tables.

    Args:
        value: the value, as in a recipe.
        is_path: whether the value may be a path, of which only the name of the file is shown.
    """
    if isinstance(value, Mapping):
        return _describe_edits(value) if _is_timeline_entry(value) else _describe_mapping(value)
    if isinstance(value, str):
        shortens = is_path and ("/" in value or value.endswith(".yaml"))
        return Path(value.rstrip("/")).stem if shortens else for_terminal(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        separator = "; " if any(isinstance(item, Mapping) for item in value) else "+"
        return separator.join(describe_value(item, is_path=is_path) for item in value) or "none"
    return "none" if value is None else str(value)


def _is_timeline_entry(value: Mapping[Any, Any]) -> bool:
    return "name" not in value and any(keyword in value for keyword in DUE_KEYWORDS)


def _describe_mapping(value: Mapping[Any, Any]) -> str:
    """Return a choice with its options, such as "lstm (lstm_size 64)", or arguments, such as "(factor 0.5)"."""
    options = ", ".join(f"{name} {_describe_option(option)}" for name, option in value.items() if name != "name")
    return " ".join([*([str(value["name"])] if "name" in value else []), *([f"({options})"] if options else [])])


def _describe_option(option: Any) -> str:
    return _describe_mapping(option) if isinstance(option, Mapping) else str(option)


def _describe_edits(entry: Mapping[Any, Any]) -> str:
    """Return an entry of a timeline, such as "50% replace_head attention" or "every 10% reinitialize head"."""
    due = [
        str(entry[keyword]) if keyword == "at" else f"{keyword} {entry[keyword]}"
        for keyword in DUE_KEYWORDS
        if keyword in entry
    ]
    edits = [
        f"{name} {_describe_argument(argument)}".rstrip()
        for name, argument in entry.items()
        if name not in (*DUE_KEYWORDS, ON_CONFLICT)
    ]
    on_conflict = [f"(on_conflict {entry[ON_CONFLICT]})"] if ON_CONFLICT in entry else []
    return for_terminal(" ".join([*due, " and ".join(edits), *on_conflict]))


def _describe_argument(argument: Any) -> str:
    """Return the argument of an edit; empty if there is none."""
    if argument is None:
        return ""
    return str(argument).lower() if isinstance(argument, bool) else describe_value(argument)
