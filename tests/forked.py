"""Run Python commands in forked processes that have already imported the libraries.

Imports take longer than a short run. In all other respects, a forked process is like a command started from a shell:
it has its own arguments, environment, working directory, signals, exit status and process group. Python commands that
it starts (processes of a launcher, workers of a study) are forked too.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.forkserver import _forkserver
from multiprocessing.process import _children  # type: ignore[attr-defined]
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

from research.system import launcher
from research.system.processes import is_alive

ROOT = Path(__file__).parent.parent
PYTEST_FOLDERS = (ROOT, ROOT / "experiments" / "benchmarks")
"""Folders that pytest adds to the import path."""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.preloaded"])
PROCESSES_VARIABLE = "FORKED_PROCESSES"
"""Environment variable with the path of a file to which a command and its children append their process ids and
arguments. A fork of a command, made with os.fork, appends the command's arguments.

The file is needed because /proc shows the fork server's environment and command for every forked process.
"""
NAMESPACE_VARIABLE = "NETWORK_NAMESPACE"
"""Environment variable with the name of a network namespace (of `ip netns`) in which a command and its children run."""
_CLONE_NEWNET = 0x40000000
"""Flag of setns(2) for network namespaces. Python 3.12 has it as os.CLONE_NEWNET."""
_LAUNCHER_MODULES = ("accelerate.commands.launch", "torch.distributed.run")
"""Launchers that are started with `python -m`."""


def can_fork(command: Sequence[object]) -> bool:
    """Return whether a command runs a script or a launcher with this Python interpreter."""
    if not isinstance(command, list | tuple) or len(command) < 2 or command[0] != sys.executable:
        return False
    arguments = _without_options(command)
    if str(arguments[0]).endswith(".py"):
        return True
    return len(arguments) > 1 and arguments[0] == "-m" and arguments[1] in _LAUNCHER_MODULES


def _without_options(command: Sequence[object]) -> list[object]:
    """Return the arguments after the interpreter, without the option -u, which torchrun passes."""
    return [part for index, part in enumerate(command[1:]) if not (index == 0 and part == "-u")]


class ForkedProcess:
    """A Python command in a forked process, with the methods of subprocess.Popen that tests and launchers use.

    Args:
        command: the interpreter, the script or `-m` with a launcher, and arguments.
        cwd: working directory.
        environment: all environment variables.
        stdout: file descriptor for stdout.
        stderr: file descriptor for stderr; may be the same as for stdout.
    """

    def __init__(
        self, command: Sequence[object], *, cwd: Path, environment: Mapping[str, str], stdout: int, stderr: int
    ) -> None:
        self.args = command
        arguments = [str(part) for part in _without_options(command)]
        self._process = _CONTEXT.Process(target=_Command(arguments, str(cwd), dict(environment), stdout, stderr))
        with _hide_main_module():
            self._process.start()
        _children.discard(self._process)  # multiprocessing would wait for the child at exit, unlike subprocess
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.stdin = self.stdout = self.stderr = None

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends, and return its exit status, or minus the number of the signal that killed it."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked script", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM to the process."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process."""
        self.send_signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """Send SIGKILL to the whole process group."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)

    def communicate(self, input: None = None, timeout: float | None = None) -> tuple[None, None]:  # noqa: A002
        """Wait until the process ends, and return None for both streams: there are no pipes to read."""
        self.wait(timeout)
        return None, None

    def __enter__(self) -> ForkedProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.wait()


class _ForkingPopen(subprocess.Popen):  # type: ignore[type-arg]
    """Replaces subprocess.Popen in a forked process, so that Python commands are forked too, each in a new session."""

    def __new__(cls, args: Any, *other_arguments: Any, **options: Any) -> Any:
        streams = [options.get(name) for name in ("stdout", "stderr")]
        if subprocess.PIPE in streams or other_arguments or not can_fork(args):
            return super().__new__(cls)
        stdout = _descriptor(streams[0], default=1, stdout=1)
        environment = os.environ if options.get("env") is None else options["env"]
        directory = Path(options.get("cwd") or Path.cwd())
        stderr = _descriptor(streams[1], default=2, stdout=stdout)
        return ForkedProcess(args, cwd=directory, environment=environment, stdout=stdout, stderr=stderr)


def _descriptor(stream: IO[Any] | int | None, default: int, stdout: int) -> int:
    """Return the file descriptor for an argument `stdout` or `stderr` of Popen.

    Args:
        stream: the argument.
        default: file descriptor if the argument is None.
        stdout: file descriptor of stdout, for `stderr=subprocess.STDOUT`.
    """
    if stream is None:
        return default
    if stream == subprocess.STDOUT:
        return stdout
    if stream == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_WRONLY)
    return stream if isinstance(stream, int) else stream.fileno()


@contextlib.contextmanager
def _hide_main_module() -> Iterator[None]:
    """Prevent a new process from importing the main module of this process, which would run this process's command."""
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _enter_namespace(name: str) -> None:
    """Move this process to a network namespace, as `ip netns exec` does."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name}")
    finally:
        os.close(descriptor)


class _Command:
    """When called, runs a script or module in the current process as `python ARGUMENTS` would."""

    def __init__(self, arguments: list[str], cwd: str, environment: dict[str, str], stdout: int, stderr: int) -> None:
        self.arguments, self.cwd, self.environment = arguments, cwd, environment
        self.streams = (stdout, stderr)
        self.parent = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        # DupFd passes open file descriptors to the new process.
        return vars(self) | {"streams": tuple(map(DupFd, self.streams))}

    def __call__(self) -> None:
        os.setsid()
        if PROCESSES_VARIABLE in self.environment:
            self._record_process()
            os.register_at_fork(after_in_child=self._record_process)  # the fork server of a study's worker
            if not is_alive(self.parent):
                # Whoever killed the parent may not have seen this process in the file, so end this process too.
                os.kill(os.getpid(), signal.SIGKILL)
        # The real os.getppid would return the fork server's id. As usual, the result is 1 once the parent has ended.
        os.getppid = lambda: self.parent if is_alive(self.parent) else 1
        # This module was imported in the fork server, and stored the id of its parent. Replace it.
        vars(launcher)["PARENT_PID"] = self.parent
        vars(multiprocessing.process)["_parent_process"] = None  # a command is not a worker of multiprocessing
        # Children of this process use the same fork server. By default, Python would start a new one.
        _forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
        if NAMESPACE_VARIABLE in self.environment:
            _enter_namespace(self.environment[NAMESPACE_VARIABLE])
        for stream, descriptor in zip(self.streams, (1, 2), strict=True):
            os.dup2(stream.detach(), descriptor)  # type: ignore[attr-defined]
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.cwd)
        for module in list(sys.modules.values()):
            if vars(module).get("Popen") is subprocess.Popen and module is not subprocess:
                module.Popen = _ForkingPopen  # type: ignore[attr-defined]
        subprocess.Popen = _ForkingPopen  # type: ignore[misc]
        is_module = self.arguments[0] == "-m"
        script_folder = self.cwd if is_module else str(Path(self.arguments[0]).parent)
        # Remove the folders that pytest added to the path of the fork server.
        sys.path[:] = [script_folder, *(path for path in sys.path if Path(path) not in PYTEST_FOLDERS)]
        try:
            if is_module:
                sys.argv = self.arguments[1:]
                runpy.run_module(self.arguments[1], run_name="__main__", alter_sys=True)
            else:
                sys.argv = self.arguments
                runpy.run_path(self.arguments[0], run_name="__main__")
        finally:
            atexit._run_exitfuncs()

    def _record_process(self) -> None:
        with Path(self.environment[PROCESSES_VARIABLE]).open("a", encoding="utf-8") as file:
            file.write(json.dumps([os.getpid(), self.arguments]) + "\n")
