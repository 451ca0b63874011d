"""Check the names of character encodings."""

from __future__ import annotations

import codecs
import difflib
import io
from encodings.aliases import aliases

_COMMON = ("utf-8", "utf-16", "latin-1", "cp1252", "gb18030", "shift_jis")


def check_encoding(name: str) -> None:
    """Check that Python supports an encoding, and that it encodes text, unlike base64.

    Raises:
        ValueError: if the encoding is unknown, or does not encode text; the message suggests similar names.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), name)  # raises an error unless `name` is an encoding of text
    except (LookupError, ValueError):  # ValueError for a NUL character in the name
        raise ValueError(f"{_describe_problem(name)} Common encodings: {', '.join(_COMMON)}.") from None


def _describe_problem(name: str) -> str:
    try:
        codecs.lookup(name)
    except (LookupError, ValueError):
        nearest = difflib.get_close_matches(name.lower(), [*_COMMON, *aliases, *aliases.values()], n=1)
        return f"Unknown encoding '{name}'." + (f" Did you mean '{nearest[0]}'?" if nearest else "")
    return f"'{name}' is not an encoding of text."
