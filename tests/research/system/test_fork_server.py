"""A fork server starts processes that behave like commands started from a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from research.system.fork_server import ForkServer, ForkServerError
from research.system.processes import is_alive

ROOT = Path(__file__).parents[3]
SERVER = """
import sys
from research.system.fork_server import serve
arguments = serve(sys.argv[1])
if arguments is not None:
    sys.argv = arguments
    exec(arguments[1])
"""
DESCRIBE = """
import json, os, signal
names = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"]
print(json.dumps({
    "environment": dict(os.environ),
    "session": os.getsid(0),
    "signals": [signal.getsignal(getattr(signal, name)) not in (signal.SIG_IGN, None) for name in names],
}))
"""


@pytest.fixture
def server_script(tmp_path: Path) -> Path:
    """A script that runs a fork server, whose processes execute the code in their first argument."""
    path = tmp_path / "server.py"
    path.write_text(SERVER, encoding="utf-8")
    return path


@pytest.fixture
def server(server_script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """A running fork server."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with (tmp_path / "server.txt").open("w", encoding="utf-8") as output:
        server = ForkServer([sys.executable, str(server_script)], output)
    yield server
    server.close()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_process_has_its_own_arguments_environment_session_and_signals(server: ForkServer, tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    output.write_text("before\n", encoding="utf-8")
    process = server.start(["name", DESCRIBE], environment={"ONLY": "this"}, output=output)
    assert process.poll() is None
    assert process.wait() == process.poll() == 0
    before, described = output.read_text(encoding="utf-8").splitlines()
    assert before == "before"
    assert json.loads(described) == {"environment": {"ONLY": "this"}, "session": process.pid, "signals": [True] * 4}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_exit_status_is_returned(server: ForkServer, tmp_path: Path, code: str, status: int) -> None:
    process = server.start(["name", code], environment={}, output=tmp_path / "output.txt")
    assert process.wait() == status


def test_processes_run_one_after_the_other_and_exit_handlers_run(server: ForkServer, tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    for number in range(3):
        code = f"import atexit; atexit.register(print, 'end of {number}')"
        assert server.start(["name", code], environment={}, output=output).wait() == 0
    assert output.read_text(encoding="utf-8").splitlines() == ["end of 0", "end of 1", "end of 2"]


def test_signals_of_a_scheduler_do_not_end_the_server(server: ForkServer, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    process = server.start(["name", code], environment={}, output=tmp_path / "output.txt")
    wait_until(ready.exists)
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
        os.kill(server.pid, number)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    assert server.is_running


def test_process_whose_server_is_killed_counts_as_killed_once_it_has_ended(server: ForkServer, tmp_path: Path) -> None:
    ready, may_end = tmp_path / "ready", tmp_path / "may end"
    code = f"""
import pathlib, time
pathlib.Path({str(ready)!r}).touch()
while not pathlib.Path({str(may_end)!r}).exists():
    time.sleep(0.01)
time.sleep(0.5)
print("done", flush=True)
"""
    output = tmp_path / "output.txt"
    process = server.start(["name", code], environment={}, output=output)
    wait_until(ready.exists)
    os.kill(server.pid, signal.SIGKILL)
    may_end.touch()
    assert process.wait() == -signal.SIGKILL
    assert output.read_text(encoding="utf-8") == "done\n"  # `wait` returned after the end of the process
    assert not server.is_running
    with pytest.raises(ForkServerError):
        server.start(["name", ""], environment={}, output=output)


def test_server_ends_after_it_was_closed_and_its_process_has_ended(server: ForkServer, tmp_path: Path) -> None:
    may_end = tmp_path / "may end"
    code = f"import pathlib, time\nwhile not pathlib.Path({str(may_end)!r}).exists(): time.sleep(0.01)"
    process = server.start(["name", code], environment={}, output=tmp_path / "output.txt")
    server.close()
    assert server.is_running
    assert is_alive(process.pid)
    may_end.touch()
    wait_until(lambda: not server.is_running)
    assert not is_alive(process.pid)


def test_server_that_cannot_start_is_an_error_and_its_output_says_why(tmp_path: Path) -> None:
    script, output = tmp_path / "server.py", tmp_path / "output.txt"
    script.write_text("import no_such_library", encoding="utf-8")
    with output.open("w", encoding="utf-8") as file, pytest.raises(ForkServerError):
        ForkServer([sys.executable, str(script)], file)
    assert "No module named 'no_such_library'" in output.read_text(encoding="utf-8")


@pytest.mark.parametrize("is_busy", [False, True])
def test_server_ends_with_the_process_that_started_it(server_script: Path, tmp_path: Path, is_busy: bool) -> None:
    code = f"""
import sys, time
from pathlib import Path
from research.system.fork_server import ForkServer
with open({str(tmp_path / "server.txt")!r}, "w") as output:
    server = ForkServer([sys.executable, {str(server_script)!r}], output)
if {is_busy}:
    server.start(["name", "import time; time.sleep(1)"], environment={{}}, output=Path({str(tmp_path / "run.txt")!r}))
print(server.pid, flush=True)
time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as client:
        assert client.stdout is not None
        server_id = int(client.stdout.readline())
        assert is_alive(server_id)
        client.kill()
    wait_until(lambda: not is_alive(server_id))
