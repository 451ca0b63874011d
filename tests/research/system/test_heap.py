"""Memory that was freed leaves the process."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.limits import HANG_LIMIT

PROGRAM = """
import ctypes, json, sys
import psutil
from research.system.heap import EVERY, HeapTrimmer

c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
resident = lambda: psutil.Process().memory_info().rss
size, num_blocks = int(sys.argv[1]), int(sys.argv[2])

def block(size):
    address = c.malloc(size)
    ctypes.memset(address, 1, size)
    return address

freed_memory = HeapTrimmer()
before = resident()
blocks = []
for _ in range(num_blocks):
    blocks.append(block(size))
    block(10_000)  # never freed: a small live block between two large ones
for each in blocks:
    c.free(each)
held = resident() - before
for _ in range(EVERY - 1):
    freed_memory.count_batch()
early = resident() - before
freed_memory.count_batch()
print(json.dumps({"held": held, "early": early, "left": resident() - before}))
"""


def freed(size: int, num_blocks: int) -> dict[str, int]:
    """Return what resident memory grew by: with holes, one batch too early, and when memory was returned; bytes."""
    # Blocks of up to 32 MiB come from the heap, as glibc itself has it once a block of that size was freed. It returns
    # nothing by itself: whether it would depends on which holes the interpreter left for the small blocks.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(size), str(num_blocks)],
        cwd=ROOT,
        env={**environment, "MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_LIMIT,
    )
    grown: dict[str, int] = json.loads(done.stdout)
    return grown


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap can be trimmed")
def test_freed_memory_is_returned_after_some_batches() -> None:
    grown = freed(1 << 20, 300)
    assert grown["held"] > 290 << 20
    assert grown["early"] > 290 << 20
    assert grown["left"] < 20 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap can be trimmed")
def test_little_freed_memory_is_kept_for_the_next_batches() -> None:
    grown = freed(1 << 20, 100)
    assert grown["held"] > 90 << 20
    assert grown["left"] > 90 << 20
