"""Two launchers with one process each, as on two machines: if either process dies, the run resumes.

It ends with the bits of an uninterrupted run.

Guards against https://github.com/pytorch/pytorch/issues/108158: each launcher counts only its own failures.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, BackgroundCommand, Launch
from tests.scripts.kills import differences

Nodes = Callable[[list[str]], list[BackgroundCommand]]


@pytest.fixture(scope="module")
def settings(pausable_run_flags: list[str]) -> list[str]:
    return [*pausable_run_flags, "--max_steps", "5", "--save_every", "2st"]


@pytest.fixture(scope="module")
def uninterrupted(launch: Launch, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run of two processes."""
    directory = tmp_path_factory.mktemp("uninterrupted") / "run"
    launch([*settings, "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture
def nodes(user_environment: dict[str, str], settings: list[str], tmp_path: Path) -> Iterator[Nodes]:
    """A function that starts the run under two launchers on this machine, with the given options of torchrun."""
    started: list[BackgroundCommand] = []

    def begin(options: list[str]) -> list[BackgroundCommand]:
        environment = {**os.environ, **user_environment, "HOLD": str(tmp_path), "PET_SHUTDOWN_TIMEOUT": "1"}
        for number in (0, 1):
            command = [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"),
                *("--max_restarts", "3", "--local_addr", "127.0.0.1"),
                *(option.format(number=number) for option in options),
                *(str(ROOT / "experiments" / "run.py"), *settings, "--output_dir", str(tmp_path / "run")),
            ]
            started.append(BackgroundCommand(command, tmp_path, environment, tmp_path / f"output-{number}.txt"))
        return started

    yield begin
    for launcher in started:
        launcher.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_paused_pids(launchers: list[BackgroundCommand], folder: Path) -> list[int]:
    """Wait until both processes pause in a step, and return their ids."""
    files = [folder / f"held-{rank}" for rank in (0, 1)]
    launchers[0].wait_for("both processes to pause", lambda: all(file.exists() for file in files))
    pids = [int(file.read_text()) for file in files]
    for file in files:
        file.unlink()
    return pids


@pytest.mark.parametrize(
    "rendezvous",
    [
        ["--rdzv_backend", "c10d", "--rdzv_id", "nodes", "--rdzv_endpoint", "127.0.0.1:{port}"],
        ["--node_rank", "{number}", "--master_addr", "127.0.0.1", "--master_port", "{port}"],
    ],
    ids=["c10d", "static"],
)
def test_run_resumes_after_each_node_loses_its_process(
    nodes: Nodes, uninterrupted: Path, tmp_path: Path, rendezvous: list[str], request: pytest.FixtureRequest
) -> None:
    port = free_port()
    launchers = nodes([option.replace("{port}", str(port)) for option in rendezvous])
    first_pids = wait_for_paused_pids(launchers, tmp_path)
    os.kill(first_pids[0], signal.SIGKILL)
    second_pids = first_pids  # a static launcher does not notice the death on the other node, and its process waits
    if "c10d" in request.node.name:
        # With c10d, the other launcher restarts its process too. That process ends soon unless it is paused.
        (tmp_path / f"go-{first_pids[1]}").touch()
        second_pids = wait_for_paused_pids(launchers, tmp_path)
        (tmp_path / f"go-{second_pids[0]}").touch()
    os.kill(second_pids[1], signal.SIGKILL)
    third_pids = wait_for_paused_pids(launchers, tmp_path)
    assert not set(third_pids) & {*first_pids, *second_pids}
    (tmp_path / "go").touch()
    assert [launcher.wait() for launcher in launchers] == [0, 0], [launcher.read_output() for launcher in launchers]
    assert str(json.loads((tmp_path / "run" / "result.json").read_text())["resumed_from"]).startswith("step-")
    assert not list(differences(uninterrupted, tmp_path / "run"))
