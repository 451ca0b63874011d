"""Import large libraries without running the garbage collector on the objects that they define."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading_libraries() -> Iterator[None]:
    """Disable garbage collection while importing the libraries that this process needs.

    A library defines a million objects and leaves almost no garbage, but the collector scans the objects again and
    again, which takes a fifth of the time to import torch and Transformers. Later scans are unnecessary too, so all
    objects that exist at the end of the context are kept until the process ends. Use this only in scripts, not in code
    that is imported into the user's own process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
