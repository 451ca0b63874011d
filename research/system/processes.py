"""Processes of this machine."""

from __future__ import annotations

import psutil

SUPERVISOR = "MIDWAY_SUPERVISOR"
"""Environment variable with the process that a run ends with: the worker of a study."""


def is_alive(pid: int) -> bool:
    """Return whether a process still runs; one that ended and that nobody has asked about (a zombie) does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
