"""What the system and the libraries raise while files are read, as errors for the user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from research.system.errors import one_line
from research.system.plain_text import for_message


@contextmanager
def reading(name: str | Path) -> Iterator[None]:
    """Turn an error of the system, or of Arrow, into one that names the file.

    Args:
        name: what is read, for errors that do not name it themselves.
    Raises:
        ValueError: if it cannot be read.
    """
    try:
        yield
    except OSError as error:  # Arrow raises it for damaged files too, without errno
        path = error.filename if isinstance(error.filename, str) else name
        reason = describe(error) if error.errno else f"it is damaged ({describe(error)})"
        raise ValueError(f"Cannot read {path}: {reason}.") from error
    except (pa.ArrowException, UnicodeError) as error:
        raise ValueError(f"Cannot read {name}: it is damaged ({describe(error)}).") from error


def describe(error: BaseException) -> str:
    """Return what an error says on one line, without full stop; of a system's error, only its text."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return one_line(error).rstrip(".")


@contextmanager
def printable_errors() -> Iterator[None]:
    """Let errors be one line, whatever names and values of a file they quote."""
    try:
        yield
    except ValueError as error:
        error.args = (for_message(str(error)),)
        raise
