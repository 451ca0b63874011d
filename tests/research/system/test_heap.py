"""Freed heap memory is returned to the system."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from research.system.heap import LARGE_BYTES
from tests.conftest import ROOT
from tests.limits import HANG_LIMIT

PROGRAM = """
import ctypes, json, sys
import psutil
from research.system.heap import BATCHES_BETWEEN_CHECKS, HeapTrimmer, map_large_blocks

c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
resident = lambda: psutil.Process().memory_info().rss
size, num_blocks = int(sys.argv[1]), int(sys.argv[2])

def allocate(size):
    address = c.malloc(size)
    ctypes.memset(address, 1, size)
    return address

if sys.argv[3] == "True":
    map_large_blocks()
trimmer = HeapTrimmer()
before = resident()
blocks = []
for _ in range(num_blocks):
    blocks.append(allocate(size))
    allocate(10_000)  # never freed: a small live block between two large blocks
for address in blocks:
    c.free(address)
after_freeing = resident() - before
for _ in range(BATCHES_BETWEEN_CHECKS - 1):
    trimmer.count_batch()
before_trimming = resident() - before
trimmer.count_batch()
after_trimming = resident() - before
growth = {"after_freeing": after_freeing, "before_trimming": before_trimming, "after_trimming": after_trimming}
print(json.dumps(growth))
"""


def memory_growth(size: int, num_blocks: int, *, maps_large_blocks: bool = False) -> dict[str, int]:
    """Return the growth of resident memory in bytes after `num_blocks` blocks of `size` bytes were freed.

    The keys are "after_freeing", "before_trimming" (one batch before the heap is trimmed) and "after_trimming".
    """
    # Both thresholds are fixed, because glibc would otherwise adapt them while the program runs. With these values,
    # all blocks come from the heap, and glibc does not trim the heap by itself.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(size), str(num_blocks), str(maps_large_blocks)],
        cwd=ROOT,
        env={**environment, "MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_LIMIT,
    )
    growth: dict[str, int] = json.loads(completed.stdout)
    return growth


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap can be trimmed")
def test_heap_trimmer_returns_freed_memory_after_several_batches() -> None:
    growth = memory_growth(size=1 << 20, num_blocks=300)  # more than MIN_GROWTH in heap.py
    assert growth["after_freeing"] > 290 << 20
    assert growth["before_trimming"] > 290 << 20
    assert growth["after_trimming"] < 20 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap can be trimmed")
def test_heap_trimmer_keeps_small_amounts_of_freed_memory() -> None:
    growth = memory_growth(size=1 << 20, num_blocks=100)  # less than MIN_GROWTH in heap.py
    assert growth["after_freeing"] > 90 << 20
    assert growth["after_trimming"] > 90 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_freed_large_blocks_leave_no_holes_if_they_are_mapped() -> None:
    size, num_blocks = LARGE_BYTES + (2 << 20), 20
    assert memory_growth(size, num_blocks)["after_freeing"] > 190 << 20
    assert memory_growth(size, num_blocks, maps_large_blocks=True)["after_freeing"] < 20 << 20
