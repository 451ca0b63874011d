"""Collect and match the messages that Midway prints for users."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from research.system.messages import format_message, logger


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(format_message(record))


@contextmanager
def collect_messages(lines: list[str] | None = None) -> Iterator[list[str]]:
    """Collect messages in the given list, or in a new one, instead of printing them."""
    lines = [] if lines is None else lines
    original_handlers, logger.handlers[:] = list(logger.handlers), [_Collector(lines)]
    try:
        yield lines
    finally:
        logger.handlers[:] = original_handlers


def in_order(*values: object) -> str:
    """Return a regular expression for a message that contains the values in this order."""
    return ".*".join(re.escape(str(value)) for value in values)
