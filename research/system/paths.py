"""Paths as a user writes them."""

from __future__ import annotations

from pathlib import Path

from research.system.plain_text import for_message

_LONGEST_SHOWN = 200


def look_up(spec: str) -> Path:
    """Return the path that is meant, `~` expanded, once it is sure that the system can look it up; it need not exist.

    Args:
        spec: as it was given.
    Raises:
        ValueError: if no such path can exist, or the folders above it may not be entered.
    """
    shown = for_message(spec, longest=_LONGEST_SHOWN)
    try:
        path = Path(spec).expanduser() if spec.startswith("~") else Path(spec)  # Path drops the ./ of ./~name
    except RuntimeError as error:
        raise ValueError(f"Cannot read '{shown}': there is no home directory of that user.") from error
    try:
        spec.encode()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except UnicodeEncodeError as error:
        raise ValueError(f"Cannot read '{shown}': its name is not valid UTF-8. Rename it.") from error
    except OSError as error:
        raise ValueError(f"Cannot read '{shown}': {error.strerror}.") from error
    except ValueError as error:  # a NUL character
        raise ValueError(f"Cannot read '{shown}': {error}.") from error
    return path
