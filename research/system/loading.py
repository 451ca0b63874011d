"""Import large libraries without running the garbage collector on the objects that they define."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading_libraries() -> Iterator[None]:
    """Disable garbage collection while importing the libraries that this process needs.

    A library defines a million objects and leaves almost no garbage, but the collector scans them again and again: this
    takes a fifth of the time to import torch and Transformers. It need not scan them later either, so everything
    that exists at the end of the context is kept until the process ends. Use this in scripts only, not in code that
    is imported into the user's own process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
