"""The C library's heap: freed memory goes back to the system instead of staying as holes between live blocks."""

from __future__ import annotations

import ctypes
import platform

_M_MMAP_THRESHOLD = -3
_THRESHOLD = 128 * 1024
"""Bytes; glibc's own initial value, which it raises to 32 MiB as soon as larger blocks are freed."""


def return_freed_memory() -> bool:
    """Keep glibc from raising the size above which a block is mapped on its own, and unmapped when it is freed.

    A training step on a CPU frees tensors of many sizes. On the heap they leave holes that the next ones do not fit
    into. Where memory lies changes no number.

    Returns:
        Whether the C library takes the setting; only glibc does.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD) == 1
