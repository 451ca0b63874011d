"""Return freed memory to the system, which the C library would otherwise keep as holes in the heap."""

from __future__ import annotations

import ctypes
import platform

import psutil

BATCHES_BETWEEN_CHECKS = 10
"""Number of batches between checks of the process's memory."""
MIN_GROWTH = 256 * 2**20
"""Minimum growth of resident memory, in bytes, before the heap is trimmed again. Trimming costs page faults, so it is
not worthwhile for less memory."""
LARGE_BYTES = 8 * 2**20
"""Size of the memory blocks that `map_large_blocks` keeps out of the heap, in bytes."""
_M_MMAP_THRESHOLD = -3
"""The parameter of glibc's mallopt that is such a size."""


def map_large_blocks() -> None:
    """Let glibc return each freed block of at least LARGE_BYTES to the system at once. Does nothing without glibc.

    glibc raises its own limit up to 32 MiB. Tensors below it that are often created and freed, such as layers that are
    gathered for each forward pass, then leave holes in the heap.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


class HeapTrimmer:
    """Returns freed heap memory to the system every few batches.

    A training step on a CPU frees tensors of many sizes. They leave holes in glibc's heap that are too small for the
    tensors of later steps, so resident memory grows over an epoch. Mapping every tensor separately
    (M_MMAP_THRESHOLD) also prevents this growth, but then the system clears the pages at each allocation, and steps
    take up to 1.4 times as long. Trimming the heap does not change any results.
    """

    def __init__(self) -> None:
        self._trim = ctypes.CDLL(None).malloc_trim if platform.libc_ver()[0] == "glibc" else None
        self._num_batches = 0
        self._resident_after_trim = _resident_memory()

    def count_batch(self) -> None:
        """Count a batch, and trim the heap if resident memory has grown. Does nothing without glibc."""
        self._num_batches += 1
        if self._trim is None or self._num_batches % BATCHES_BETWEEN_CHECKS != 0:
            return
        if _resident_memory() - self._resident_after_trim >= MIN_GROWTH:
            self._trim(0)
            self._resident_after_trim = _resident_memory()


def _resident_memory() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)
