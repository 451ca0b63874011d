"""Turn errors that occur while files are read into messages for the user."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from research.data.sources.tables import Report, Table
from research.system.errors import one_line
from research.system.plain_text import for_message


@contextmanager
def convert_read_errors(name: str | Path) -> Iterator[None]:
    """Turn operating system errors, Arrow errors and decoding errors into a ValueError that names the file.

    Args:
        name: name of the file, used unless the error itself contains a path.
    Raises:
        ValueError: if the file cannot be read.
    """
    try:
        yield
    except OSError as error:  # Arrow also raises OSError for damaged files, but without errno
        path = error.filename if isinstance(error.filename, str) else name
        reason = describe_briefly(error) if error.errno else f"it is damaged ({describe_briefly(error)})"
        raise ValueError(f"Cannot read {path}: {reason}.") from error
    except (pa.ArrowException, UnicodeError) as error:
        raise ValueError(f"Cannot read {name}: it is damaged ({describe_briefly(error)}).") from error


def read_rows(table: Table, columns: Sequence[str], report: Report) -> Iterator[tuple[int, int, Sequence[Any]]]:
    """Yield the rows of a table as `Table.rows` does.

    Raises:
        ValueError: if the file cannot be read.
    """
    with convert_read_errors(table.name):  # does not affect errors raised in the caller's loop
        yield from table.rows(columns, report)


def describe_briefly(error: BaseException) -> str:
    """Return an error's message on one line, without a full stop; for a system error, only the text of its errno."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return one_line(error).rstrip(".")


@contextmanager
def make_errors_printable() -> Iterator[None]:
    """Make the message of a ValueError printable and keep it on one line, even if it quotes the content of a file."""
    try:
        yield
    except ValueError as error:
        error.args = (for_message(str(error)),)
        raise
