"""Runs under two launchers with one process each, as on two machines, resume if either process dies.

They end with the bits of an uninterrupted run.

Guards against https://github.com/pytorch/pytorch/issues/108158: each launcher counts only its own failures, so the
processes of a restarted run cannot tell from the launchers' counts which restart they belong to.
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
from tests.scripts.kills import find_differences

StartNodes = Callable[[list[str]], list[BackgroundCommand]]


@pytest.fixture(scope="module")
def flags(pausable_run_flags: list[str]) -> list[str]:
    return [*pausable_run_flags, "--max_steps", "5", "--save_every", "2st"]


@pytest.fixture(scope="module")
def uninterrupted_run(launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run of two processes."""
    directory = tmp_path_factory.mktemp("uninterrupted") / "run"
    launch([*flags, "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture
def start_nodes(user_environment: dict[str, str], flags: list[str], tmp_path: Path) -> Iterator[StartNodes]:
    """A function that starts a run under two launchers on this machine, given options of torchrun.

    In the options, {number} stands for the number of the launcher.
    """
    launchers: list[BackgroundCommand] = []

    def start_launchers(options: list[str]) -> list[BackgroundCommand]:
        # torchrun reads PET_SHUTDOWN_TIMEOUT as its flag --shutdown_timeout.
        environment = {**os.environ, **user_environment, "HOLD": str(tmp_path), "PET_SHUTDOWN_TIMEOUT": "1"}
        for number in (0, 1):
            command = [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"),
                *("--max_restarts", "3", "--local_addr", "127.0.0.1"),
                *(option.format(number=number) for option in options),
                *(str(ROOT / "experiments" / "run.py"), *flags, "--output_dir", str(tmp_path / "run")),
            ]
            launchers.append(BackgroundCommand(command, tmp_path, environment, tmp_path / f"output-{number}.txt"))
        return launchers

    yield start_launchers
    for launcher in launchers:
        launcher.kill()


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_paused_pids(launchers: list[BackgroundCommand], folder: Path) -> list[int]:
    """Wait until both processes pause after a step, and return their ids. Delete the files that report the pause."""
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
    start_nodes: StartNodes,
    uninterrupted_run: Path,
    tmp_path: Path,
    rendezvous: list[str],
    request: pytest.FixtureRequest,
) -> None:
    port = find_free_port()
    launchers = start_nodes([option.replace("{port}", str(port)) for option in rendezvous])
    # The process ids of the first start, and of the starts after the first and second death.
    first_pids = wait_for_paused_pids(launchers, tmp_path)
    os.kill(first_pids[0], signal.SIGKILL)
    # With a static rendezvous, the other launcher does not notice the death, and its process stays paused.
    second_pids = first_pids
    if "c10d" in request.node.name:
        # With c10d, the other launcher notices the death and restarts its process too. A paused process does not end
        # when its launcher asks it to, so let it continue.
        (tmp_path / f"go-{first_pids[1]}").touch()
        second_pids = wait_for_paused_pids(launchers, tmp_path)
        (tmp_path / f"go-{second_pids[0]}").touch()
    os.kill(second_pids[1], signal.SIGKILL)
    third_pids = wait_for_paused_pids(launchers, tmp_path)
    assert not set(third_pids) & {*first_pids, *second_pids}
    (tmp_path / "go").touch()
    assert [launcher.wait() for launcher in launchers] == [0, 0], [launcher.read_output() for launcher in launchers]
    assert str(json.loads((tmp_path / "run" / "result.json").read_text())["resumed_from"]).startswith("step-")
    assert not list(find_differences(uninterrupted_run, tmp_path / "run"))
