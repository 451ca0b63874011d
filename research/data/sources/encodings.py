"""Names of the encodings of text files."""

from __future__ import annotations

import difflib
import io
from encodings.aliases import aliases

_COMMON = ("utf-8", "utf-16", "latin-1", "cp1252", "gb18030", "shift_jis")


def check_encoding(name: str) -> None:
    """Refuse an encoding that Python does not know, or that does not encode text (base64).

    Raises:
        ValueError: naming it.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), name)
    except (LookupError, ValueError):  # ValueError for a NUL character
        nearest = difflib.get_close_matches(name.lower(), [*_COMMON, *aliases, *aliases.values()], n=1)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
        raise ValueError(f"Unknown encoding '{name}'.{hint} Common ones: {', '.join(_COMMON)}.") from None
