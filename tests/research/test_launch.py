"""What processes know of each other."""

from __future__ import annotations

import subprocess
import sys

import psutil

from research.launch import is_alive


def test_process_that_nobody_asked_about_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_alive(process.pid)
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert psutil.pid_exists(process.pid)
        assert not is_alive(process.pid)
    assert not is_alive(process.pid)
