"""Messages for users of Python: they name arguments instead of flags, and tracebacks are short.

Messages are written for the command line, with flags such as `--overwrite`, `--resume auto` or `--head.lstm_size 128`.
For users of Python, they become `overwrite=True`, `resume="auto"` and
`head={"name": ..., "lstm_size": 128}`.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import typing
from collections.abc import Callable, Container, Mapping
from typing import Any, ParamSpec, TypeVar

import yaml

from research.settings.flags import INSPECTION_FLAGS, SETTINGS_WITH_OPTIONS, setting_types
from research.settings.registries import REGISTRIES, load_registry
from research.settings.value_types import alternatives
from research.system import user_code
from research.system.errors import is_user_facing
from research.system.messages import messages_rewritten
from research.system.short_tracebacks import without_traceback
from research.system.signals import Interrupted

_FLAG = re.compile(
    r"--(?P<name>[a-z_]+)(?P<options>(?:\.[A-Za-z_]\w*)*)"
    # What follows may be the flag's value or the next word of the sentence. Punctuation at its end belongs to the
    # sentence.
    r"""(?:[ =](?P<value>"[^"]*"|'[^']*'|\{[^}]*\}|\[[^]]*\]|[^\s"'(){}]+?)(?=[.,;:)]*(?:\s|$)))?"""
)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?")
_PROSE = re.compile(r"[a-z]+")


def naming_arguments(*groups: type) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Return a decorator for a function that users call: messages and errors name arguments; tracebacks are short.

    Errors in the user's own code, and defects, keep their tracebacks.

    Args:
        groups: dataclasses of settings whose flags become arguments, besides those of `RunConfig`.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def decorated(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            types = dict(setting_types())
            for group in groups:
                types.update(typing.get_type_hints(group))
            try:
                with messages_rewritten(functools.partial(name_arguments_in, types=types)):
                    return function(*args, **kwargs)
            except (ValueError, Interrupted) as error:
                if isinstance(error, ValueError) and (
                    user_code.describe(error) is not None or not is_user_facing(error)
                ):
                    raise
                error.args = (name_arguments_in(str(error), types),)
                raise without_traceback(error) from None

        return decorated

    return decorate


def name_arguments_in(message: str, types: Mapping[str, Any]) -> str:
    """Return a message in which arguments replace the flags of settings; other flags remain.

    Args:
        message: the message.
        types: type of each setting, by name.
    """
    return _FLAG.sub(functools.partial(_replace, types), message)


def _replace(types: Mapping[str, Any], match: re.Match[str]) -> str:
    name, options, text = match["name"], match["options"].split(".")[1:], match["value"]
    if name not in types or name in INSPECTION_FLAGS or (options and name not in SETTINGS_WITH_OPTIONS):
        return match[0]
    if options:
        has_value = text is not None and not _PROSE.fullmatch(text)
        value = _as_python(yaml.safe_load(text)) if has_value else "..."
        choice = f'{{"name": {_as_python(options[0]) if len(options) > 1 else "..."}, "{options[-1]}": {value}}}'
        argument = f"{name}={f'[{choice}]' if name == 'hook' else choice}"
    else:
        has_value = text is not None and _is_value(name, text, types)
        if has_value or bool in alternatives(types[name]):
            argument = f"{name}={_as_python(_convert(text, types[name])) if has_value else True}"
        else:
            argument = name
    following = "" if has_value or text is None else match[0][match.start("value") - 1 - match.start() :]
    return argument + following


def _is_value(name: str, text: str, types: Mapping[str, Any]) -> bool:
    """Return whether the text after a flag is the flag's value, rather than the next word of the sentence."""
    members = alternatives(types[name])
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


def _convert(text: str, type_hint: Any) -> Any:
    """Return the value of a flag as a Python value."""
    members = alternatives(type_hint)
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
