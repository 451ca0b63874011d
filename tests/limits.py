"""The one time limit of the tests: a guard against hanging, far above what the slowest machine needs."""

import time
from collections.abc import Callable

HANG_LIMIT = 1800.0
"""Seconds after which a command or a wait counts as hanging. Whether a test passes must not depend on the machine."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fail if it never does."""
    end = time.monotonic() + HANG_LIMIT
    while not condition():
        assert time.monotonic() < end, f"no {what} within {HANG_LIMIT:.0f} s"
        time.sleep(0.05)
