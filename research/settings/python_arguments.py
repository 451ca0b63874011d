"""Messages for users of Python: they name arguments of `RunConfig` instead of flags, and tracebacks are short.

Messages are written for the command line, with flags such as `--overwrite`, `--resume auto` or `--head.lstm_size 128`.
For a run that was started from Python, they become `overwrite=True`, `resume="auto"` and
`head={"name": ..., "lstm_size": 128}`.
"""

from __future__ import annotations

import ast
import json
import re
import typing
from collections.abc import Container
from typing import Any

import yaml

from research.settings.flags import INSPECTION_FLAGS, SETTINGS_WITH_OPTIONS, setting_types
from research.settings.registries import REGISTRIES, load_registry
from research.settings.value_types import alternatives
from research.system.short_tracebacks import Error, without_traceback

_FLAG = re.compile(
    r"--(?P<name>[a-z_]+)(?P<options>(?:\.[A-Za-z_]\w*)*)"
    # What follows may be the flag's value or the next word of the sentence. Punctuation at its end belongs to the
    # sentence.
    r"""(?:[ =](?P<value>"[^"]*"|'[^']*'|\{[^}]*\}|\[[^]]*\]|[^\s"'(){}]+?)(?=[.,;:)]*(?:\s|$)))?"""
)
_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?")
_PROSE = re.compile(r"[a-z]+")


def name_arguments(error: Error) -> Error:
    """Return an error that is shown to a user of Python: its message names arguments, and its traceback is short.

    Args:
        error: an error whose only argument is a message for the user; it is changed.
    """
    error.args = (name_arguments_in(str(error)),)
    return without_traceback(error)


def name_arguments_in(message: str) -> str:
    """Return a message in which arguments of `RunConfig` replace the flags of settings; other flags remain."""
    return _FLAG.sub(_replace, message)


def _replace(match: re.Match[str]) -> str:
    name, options, text = match["name"], match["options"].split(".")[1:], match["value"]
    if name not in setting_types() or name in INSPECTION_FLAGS or (options and name not in SETTINGS_WITH_OPTIONS):
        return match[0]
    if options:
        has_value = text is not None and not _PROSE.fullmatch(text)
        value = _as_python(yaml.safe_load(text)) if has_value else "..."
        choice = f'{{"name": {_as_python(options[0]) if len(options) > 1 else "..."}, "{options[-1]}": {value}}}'
        argument = f"{name}={f'[{choice}]' if name == 'hook' else choice}"
    else:
        has_value = text is not None and _is_value(name, text)
        if has_value or bool in alternatives(setting_types()[name]):
            argument = f"{name}={_as_python(_convert(name, text)) if has_value else True}"
        else:
            argument = name
    following = "" if has_value or text is None else match[0][match.start("value") - 1 - match.start() :]
    return argument + following


def _is_value(name: str, text: str) -> bool:
    """Return whether the text after a flag is the flag's value, rather than the next word of the sentence."""
    members = alternatives(setting_types()[name])
    if bool in members and text in ("true", "false"):
        return True
    if text in members or text == "auto" or (text == "null" and type(None) in members):
        return True
    if not {str, list, dict}.isdisjoint(typing.get_origin(member) or member for member in members):
        return not _PROSE.fullmatch(text) or text in _registered_names(name)
    return bool(_NUMBER.fullmatch(text)) and not {int, float}.isdisjoint(members)


def _registered_names(name: str) -> Container[str]:
    """Return the registered names that a setting accepts, such as those of heads for `head`."""
    listing = next((each for each in (name, f"{name}s") if each in REGISTRIES), None)
    return () if listing is None else load_registry(listing)


def _convert(name: str, text: str) -> Any:
    """Return the value of a flag as a Python value."""
    members = alternatives(setting_types()[name])
    origins = [typing.get_origin(member) or member for member in members]
    if text[0] in "\"'":
        text = text[1:-1]
    if list in origins and text[0] not in "[{":
        return [item.strip() for item in text.split(",")]
    if list in origins:
        value = yaml.safe_load(text)
        return value if isinstance(value, list) else [value]
    if str in origins and text != "null" and not text.startswith("{"):
        return text
    if text in members:
        return text
    return ast.literal_eval(text) if _NUMBER.fullmatch(text) else yaml.safe_load(text)


def _as_python(value: Any) -> str:
    """Return a value as Python code, with double quotes around strings."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_as_python, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_as_python(key)}: {_as_python(item)}' for key, item in value.items())}}}"
    return repr(value)
