"""Processes on this machine."""

from __future__ import annotations

import os

from research.system.processes import is_alive


def test_process_is_alive_until_it_ends() -> None:
    assert is_alive(os.getpid())
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # returns when the process is a zombie
    assert not is_alive(pid)
    os.waitpid(pid, 0)
    assert not is_alive(pid)
