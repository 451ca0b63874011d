"""Start Python commands as forks of a process that has already imported the libraries.

Importing torch and Transformers takes longer than many runs take to start otherwise. A study therefore imports them
once, in a fork server, which starts all of its trials.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import IO, Any

from research.system import launcher
from research.system.processes import is_alive

_POLL_SECONDS = 0.1
_IGNORED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""Signals with which a scheduler stops a job. It sends them to the fork server too, which must outlive its process."""


class ForkServerError(Exception):
    """Raised if the fork server ended before it started a process; its output says why."""


class ForkServer:
    """The connection to a fork server, which runs one process at a time.

    Args:
        command: command that starts the fork server; the address to connect to is appended.
        output: file for the output of the fork server itself.
    Raises:
        ForkServerError: if the fork server ends before it is ready.
    """

    def __init__(self, command: Sequence[str], output: IO[Any]) -> None:
        with Listener(None, "AF_UNIX") as listener:
            address = str(listener.address)
            self._server = subprocess.Popen(
                [*command, address],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Otherwise, a library that asks for the number of GPUs would keep forked processes from using them.
                env={**os.environ, "PYTORCH_NVML_BASED_CUDA_CHECK": "1"},
            )
            threading.Thread(target=self._report_end, args=[address], daemon=True).start()
            self._connection = listener.accept()
        if self._receive() is None:
            raise ForkServerError

    def start(self, arguments: Sequence[str], *, environment: Mapping[str, str], output: Path) -> ForkedProcess:
        """Start a process in a new session.

        Args:
            arguments: its command line, without the interpreter.
            environment: all environment variables.
            output: file to which stdout and stderr are appended.
        Raises:
            ForkServerError: if the fork server has ended.
        """
        request = {"arguments": list(arguments), "environment": dict(environment), "output": str(output)}
        with suppress(OSError):
            self._connection.send_bytes(json.dumps(request).encode())
        pid = self._receive()
        if pid is None:
            raise ForkServerError
        return ForkedProcess(pid, self)

    @property
    def pid(self) -> int:
        """Process id of the fork server."""
        return self._server.pid

    @property
    def is_running(self) -> bool:
        """Whether the fork server has not ended."""
        return self._server.poll() is None

    def wait(self) -> int | None:
        """Return the exit status of the current process once it has ended; None if the fork server has ended."""
        return self._receive()

    def close(self) -> None:
        """Let the fork server end, once its process has ended."""
        self._connection.close()

    def _receive(self) -> int | None:
        try:
            number = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            return None
        assert isinstance(number, int)
        return number

    def _report_end(self, address: str) -> None:
        # If the fork server ends before it has connected, connect instead of it: the answer is an empty connection.
        self._server.wait()
        with suppress(OSError):
            Client(address).close()


@dataclass
class ForkedProcess:
    """A process that a fork server has started, with the methods of subprocess.Popen that a worker uses."""

    pid: int
    """Process id, and id of the process group."""
    _server: ForkServer
    returncode: int | None = None
    """Exit status, or minus the number of the signal that killed the process; None until `wait` has returned it."""

    def poll(self) -> int | None:
        """Return the exit status if `wait` has returned, otherwise None."""
        return self.returncode

    def wait(self) -> int:
        """Wait until the process ends, and return its exit status.

        If the fork server was killed, nobody knows the exit status: it is reported as if the process was killed too.
        """
        status = self._server.wait()
        if status is None:
            while is_alive(self.pid):
                time.sleep(_POLL_SECONDS)
            status = -signal.SIGKILL
        self.returncode = status
        return status


def serve(address: str) -> list[str] | None:
    """Fork this process once for each request, until the study's process closes the connection or ends.

    Args:
        address: address of the study's process.
    Returns:
        In each forked process, the command line that it must run; None in the fork server, at its end.
    """
    with Client(address) as connection:
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _IGNORED_SIGNALS}
        with suppress(EOFError, OSError):
            _send(connection, os.getpid())
            while True:
                request = json.loads(connection.recv_bytes())
                pid = os.fork()
                if pid == 0:
                    break
                _send(connection, pid)
                _send(connection, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            for number, handler in handlers.items():
                signal.signal(number, handler)
            return _become(request)
    return None


def _send(connection: Connection, number: int) -> None:
    connection.send_bytes(json.dumps(number).encode())


def _become(request: Mapping[str, Any]) -> list[str]:
    """Make this process what the request asks for, and return its command line."""
    os.setsid()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    launcher.PARENT_PID = os.getppid()  # it was read in the fork server
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    return arguments
