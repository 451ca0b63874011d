"""Import large libraries without looking for garbage among what they define."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading_libraries() -> Iterator[None]:
    """Import inside what the rest of this process needs.

    A library defines a million objects and leaves next to no garbage, but the collector looks through them again and
    again: a fifth of the time that torch and Transformers take to import. Nor need it look at them later. Everything
    that is there at the end is kept until the process ends, so this is for scripts, not for those who import this
    package into a process of their own.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
