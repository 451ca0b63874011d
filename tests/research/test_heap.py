"""Memory that was freed leaves the process."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.limits import HANG_LIMIT

PROGRAM = """
import ctypes, json, sys
import psutil
from research.heap import return_freed_memory

if sys.argv[1] == "on":
    assert return_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
resident = lambda: psutil.Process().memory_info().rss

def block(size):
    address = c.malloc(size)
    ctypes.memset(address, 1, size)
    return address

c.free(block(16 << 20))  # at which glibc begins to serve blocks of up to this size from the heap
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
@pytest.mark.parametrize(("switch", "is_returned"), [("on", True), ("off", False)])
def test_freed_memory_is_returned_with_the_setting_only(switch: str, is_returned: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, switch],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_LIMIT,
    )
    memory = json.loads(done.stdout)
    assert memory["held"] > 190 << 20
    assert (memory["left"] < 20 << 20) is is_returned
