"""Processes on this machine."""

from __future__ import annotations

import psutil

SUPERVISOR = "MIDWAY_SUPERVISOR"
"""Environment variable with the process id of the worker whose end also ends the run."""


def is_alive(pid: int) -> bool:
    """Return whether a process is still running; a zombie (ended, but not waited for) is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
