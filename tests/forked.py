"""Scripts that run in processes which have imported everything already: imports take longer than a short run.

The rest is as in a shell: arguments, environment, working directory, signals, exit status, and a process (and process
group) of its own.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT, ROOT / "experiments" / "benchmarks")
"""What pytest puts on the path of imports."""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.imported"])


class Forked:
    """A Python script in a process of its own; has what the tests use of subprocess.Popen.

    Args:
        script: the script and its arguments.
        cwd: working directory.
        environment: all of it.
        stdout: file for what it prints.
        stderr: file for what it prints to stderr; may be the same one.
    """

    def __init__(
        self, script: Sequence[str], *, cwd: Path, environment: Mapping[str, str], stdout: Path, stderr: Path
    ) -> None:
        arguments = (list(script), str(cwd), dict(environment), str(stdout), str(stderr))
        self._process = _CONTEXT.Process(target=_run, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit status: negative for a signal's number."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked script", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, with all that it started in its process group."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)


def _run(script: list[str], cwd: str, environment: dict[str, str], stdout: str, stderr: str) -> None:
    """Become `python SCRIPT ...` in this process."""
    os.setsid()
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = script
    # Without the folders of the tests, which the server was told of.
    sys.path[:] = [str(Path(script[0]).parent), *(path for path in sys.path if Path(path) not in FOLDERS)]
    try:
        runpy.run_path(script[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
