"""Processes on this machine."""

from __future__ import annotations

import psutil

SUPERVISOR_VARIABLE = "MIDWAY_SUPERVISOR"
"""Environment variable with the id of the study's process that started this worker or run. If that process ends,
the worker or run stops."""


def is_alive(pid: int) -> bool:
    """Return whether a process is still running; a zombie (ended, but not waited for) is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
