"""Processes on this machine."""

from __future__ import annotations

import psutil

SUPERVISOR = "MIDWAY_SUPERVISOR"
"""Environment variable with the process id of the study's worker that started this run; a run stops if its worker
ends."""


def is_alive(pid: int) -> bool:
    """Return whether a process is still running; a zombie (ended, but not waited for) is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
