"""Paths as written by the user."""

from __future__ import annotations

from pathlib import Path

from research.system.plain_text import for_message

_LONGEST_SHOWN = 200
"""Length above which a path is shortened in messages."""


def expand_path(spec: str) -> Path:
    """Expand `~` in a path and check that the system can look it up; the path need not exist.

    Args:
        spec: the path as written by the user.
    Raises:
        ValueError: if no such path can exist, or a folder above it is not accessible.
    """
    shown = for_message(spec, longest=_LONGEST_SHOWN)
    try:
        # Path("./~name") equals Path("~name"), which expanduser would expand.
        path = Path(spec).expanduser() if spec.startswith("~") else Path(spec)
    except RuntimeError as error:
        home = spec.partition("/")[0]
        raise ValueError(f"Cannot read '{shown}': the home directory {for_message(home)} is not known.") from error
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


def without_folders(name: str) -> str:
    """Return the last part of a path on this machine, for readers elsewhere; other names are returned unchanged.

    Args:
        name: name of an encoder, data or a plugin: a path, or a name on the Hub.
    """
    return Path(name).name if name.startswith(("/", "~", ".")) or Path(name).exists() else name
