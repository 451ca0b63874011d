"""A time limit for commands and waits. It guards against hanging, and is far above what the slowest machine needs."""

import time
from collections.abc import Callable

HANG_LIMIT = 1800.0
"""Seconds after which a command or a wait counts as hanging. Test results must not depend on the machine's speed."""


def wait_until(condition: Callable[[], bool], description: str) -> None:
    """Wait until a condition is true; fail at the time limit with `description` in the message."""
    end = time.monotonic() + HANG_LIMIT
    while not condition():
        assert time.monotonic() < end, f"timed out after {HANG_LIMIT:.0f} s, waiting for {description}"
        time.sleep(0.05)
