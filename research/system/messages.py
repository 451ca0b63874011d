"""Messages for the user: a logger whose messages the main process of a run prints.

`logger.info` prints a message without a prefix; `logger.warning` puts "Warning: " in front of it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from research.system.plain_text import for_terminal

WARNING = "Warning: "
"""Prefix of every printed warning."""
KEEP_LINE_BREAKS = {"keep_lines": True}
"""`extra` of a message whose line breaks are printed, such as an error in the user's code."""


def is_main_process() -> bool:
    """Return whether this process prints messages: the only process, or the launcher's first one."""
    return os.environ.get("RANK", "0") == "0"


class _Printer(logging.Handler):
    """Prints messages without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message and flush it, because messages that announce a long wait must not stay in a buffer."""
        tqdm.write(format_message(record))
        sys.stdout.flush()


def _escape_and_filter(record: logging.LogRecord) -> bool:
    """Escape a message, because names in files may contain control sequences; keep it only on the main process."""
    record.msg = for_terminal(str(record.msg), keep_lines=getattr(record, "keep_lines", False))
    return is_main_process()


def format_message(record: logging.LogRecord) -> str:
    """Return a message as it is printed."""
    return f"{WARNING}{record.getMessage()}" if record.levelno >= logging.WARNING else record.getMessage()


logger = logging.getLogger("midway")
logger.setLevel(logging.INFO)
logger.propagate = False  # otherwise, a handler that the user installed on the root logger would print messages again
logger.addFilter(_escape_and_filter)
if not logger.handlers:  # this module may be imported twice
    logger.addHandler(_Printer())


@contextmanager
def messages_muted() -> Iterator[None]:
    """Suppress messages during the context, for example when data are read a second time."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def messages_rewritten(rewrite: Callable[[str], str]) -> Iterator[None]:
    """Change all messages during the context by a function."""

    def change(record: logging.LogRecord) -> bool:
        record.msg = rewrite(str(record.msg))
        return True

    logger.addFilter(change)
    try:
        yield
    finally:
        logger.removeFilter(change)
