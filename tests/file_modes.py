"""Make the kernel check file modes even for root."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3, which selects the format of the data for the system calls capget and capset."""
_FIELDS = "IIIIII"  # effective, permitted and inheritable capabilities, lower and upper halves


@contextmanager
def enforce_file_modes() -> Iterator[None]:
    """Drop this thread's capabilities, so that file modes are checked even if the user is root (Linux)."""
    if os.geteuid() != 0 or sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _VERSION_3, 0)
    before = ctypes.create_string_buffer(struct.calcsize(_FIELDS))
    assert libc.capget(header, before) == 0, os.strerror(ctypes.get_errno())
    _, permitted, inheritable, _, permitted_high, inheritable_high = struct.unpack(_FIELDS, before.raw)
    reduced = struct.pack(_FIELDS, 0, permitted, inheritable, 0, permitted_high, inheritable_high)
    assert libc.capset(header, reduced) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        assert libc.capset(header, before.raw) == 0, os.strerror(ctypes.get_errno())
