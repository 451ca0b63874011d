"""Describe values of the wrong type. jsonargparse's own messages do not say which type was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentError

from research.settings.value_types import alternatives, describe_type
from research.system.errors import one_line

_PARSER_MESSAGE = re.compile(r'Parser key "(\w+)":.*(?:Got value|Given value): (.*)', re.DOTALL)


def describe_type_error(error: ArgumentError, types_by_name: Mapping[str, Any]) -> str:
    """Return one line with the setting, the expected type, the value and, if there is one, a similar valid value.

    If the parser's message has an unknown form, it is returned on one line.

    Args:
        error: the error that the parser raised.
        types_by_name: type of each setting by name.
    """
    match = _PARSER_MESSAGE.search(str(error))
    if match is None:
        return one_line(error)
    name, value = match[1], one_line(match[2])
    values = [member for member in alternatives(types_by_name[name]) if isinstance(member, str)]
    nearest = difflib.get_close_matches(value, values, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"Expected {name} to be {describe_type(types_by_name[name])}; got '{value}'.{hint}"
