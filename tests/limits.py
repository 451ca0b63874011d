"""The only time limit of the tests: a guard against hanging, far above the time that the slowest machine needs."""

import time
from collections.abc import Callable

HANG_LIMIT = 1800.0
"""Seconds after which a command or a wait counts as hanging. Test results must not depend on the machine's speed."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fail at the time limit."""
    end = time.monotonic() + HANG_LIMIT
    while not condition():
        assert time.monotonic() < end, f"timed out after {HANG_LIMIT:.0f} s, waiting for {what}"
        time.sleep(0.05)
