"""Messages for the user: one logger, whose lines the main process of a run prints.

`logger.info` prints a message as it is, `logger.warning` after the word Warning.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from research.system.plain_text import for_terminal

WARNING = "Warning: "
"""Begins every warning as it is printed."""
WITH_LINES = {"keep_lines": True}
"""`extra` of a message with lines of its own, as an error in the user's code has them."""


def is_main_process() -> bool:
    """Return whether this process talks to the user: the launcher's first one, or the only one."""
    return os.environ.get("RANK", "0") == "0"


class _Printer(logging.Handler):
    """Prints messages without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message; flushed, since some announce a long wait, and a file or pipe would keep them back."""
        tqdm.write(text_of(record))
        sys.stdout.flush()


def _of_main_process(record: logging.LogRecord) -> bool:
    """Keep the messages of the main process, and make them safe: names from files may hold commands for a terminal."""
    record.msg = for_terminal(str(record.msg), keep_lines=getattr(record, "keep_lines", False))
    return is_main_process()


def text_of(record: logging.LogRecord) -> str:
    """Return a message as it is printed."""
    return f"{WARNING}{record.getMessage()}" if record.levelno >= logging.WARNING else record.getMessage()


logger = logging.getLogger("midway")
logger.setLevel(logging.INFO)
logger.propagate = False  # what the user has set up for the messages of libraries would print them once more
logger.addFilter(_of_main_process)
if not logger.handlers:  # this module may be imported twice
    logger.addHandler(_Printer())


@contextmanager
def muted() -> Iterator[None]:
    """Print nothing inside: for what is read once more, and was reported then."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
