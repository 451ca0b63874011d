"""Check the names of character encodings."""

from __future__ import annotations

import difflib
import io
from encodings.aliases import aliases

_COMMON = ("utf-8", "utf-16", "latin-1", "cp1252", "gb18030", "shift_jis")


def check_encoding(name: str) -> None:
    """Check that Python supports an encoding, and that it is an encoding of text, unlike base64.

    Raises:
        ValueError: if the encoding is unknown; the message suggests similar names.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), name)
    except (LookupError, ValueError):  # ValueError for a NUL character
        nearest = difflib.get_close_matches(name.lower(), [*_COMMON, *aliases, *aliases.values()], n=1)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
        raise ValueError(f"Unknown encoding '{name}'.{hint} Common encodings: {', '.join(_COMMON)}.") from None
