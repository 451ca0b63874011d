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
from research.system.heap import return_freed_memory

assert return_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
resident = lambda: psutil.Process().memory_info().rss

def block(size):
    address = c.malloc(size)
    ctypes.memset(address, 1, size)
    return address

before = resident()
blocks = []
for _ in range(200):
    blocks.append(block(1 << 20))
    block(10_000)  # never freed: a small live block between two large ones
held = resident()
for each in blocks:
    c.free(each)
print(json.dumps({"held": held - before, "left": resident() - before}))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap has the setting")
def test_freed_memory_is_returned() -> None:
    # Blocks of up to 32 MiB come from the heap, as glibc itself has it once a block of that size was freed.
    heap = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**heap, "MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_LIMIT,
    )
    memory = json.loads(done.stdout)
    assert memory["held"] > 190 << 20
    assert memory["left"] < 20 << 20
