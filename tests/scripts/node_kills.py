"""Run on two nodes, kill a worker, a launcher or a node, and compare the files with those of an uninterrupted run.

`python -m tests.scripts.node_kills FOLDER --encoder E --data D` prints a table of all combinations. A node is a
launcher with one process. Tests call `kill_and_compare`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT, BackgroundCommand, command_line
from tests.scripts.kills import find_differences
from tests.scripts.network import LOOPBACK, NamespaceError, Network, two_namespaces

SETTINGS = [
    *("--max_length", "32", "--batch_size", "8", "--log_every", "1", "--mixed_precision", "no", "--num_threads", "1"),
    *("--report", "false", "--plugin", str(ROOT / "tests" / "plugins" / "hold_at_step.py"), "--hook", "hold"),
    *("--max_steps", "5", "--save_every", "2st"),
]
"""Flags of a run that pauses after step 3."""
RENDEZVOUS = {
    "static": ["--node_rank", "{number}", "--master_addr", "{address}", "--master_port", "{port}"],
    # An address that is not the host name's does not tell torchrun on which node to listen.
    "c10d": [
        *("--rdzv_backend", "c10d", "--rdzv_id", "nodes", "--rdzv_endpoint", "{address}:{port}"),
        *("--rdzv_conf", "is_host={is_host},keep_alive_interval=1,read_timeout=20"),
    ],
}
"""Options of torchrun with which the nodes find each other."""
SHARDS: dict[str, list[str]] = {"DDP": [], "FSDP2": ["--shard", "fsdp2"]}
"""Flags of a run, by the way in which its processes share the model."""


@dataclass
class Nodes:
    """A run on two nodes.

    Args:
        folder: working directory, in which the run has the directory `run`.
        settings: flags of the run.
        environment: environment variables for the commands.
        rendezvous: options of torchrun with which the nodes find each other, or a command that starts accelerate.
        network: the network of the nodes.
        folders: working directory of each node; by default, `folder`.
        max_restarts: how often each launcher restarts its process.
    """

    folder: Path
    settings: Sequence[str]
    environment: Mapping[str, str]
    rendezvous: Sequence[str]
    network: Network = LOOPBACK
    folders: tuple[Path, Path] | None = None
    max_restarts: int = 3
    launchers: list[BackgroundCommand] = field(default_factory=list)
    """The current launcher of each node."""

    def __post_init__(self) -> None:
        self.port = find_free_port()
        self._started: list[BackgroundCommand] = []

    def start(self, *flags: str) -> None:
        """Start the launchers of both nodes, with additional flags of the run."""
        self.launchers = [self._start_launcher(number, flags) for number in (0, 1)]

    def start_again(self, number: int) -> None:
        """Start the launcher of a node again, with the same command."""
        self.launchers[number] = self._start_launcher(number, ())

    def _start_launcher(self, number: int, flags: Sequence[str]) -> BackgroundCommand:
        values = {
            "number": number,
            "address": self.network.addresses[0],
            "port": self.port,
            "is_host": number == 0,
        }
        options = [option.format_map(values) for option in self.rendezvous]
        if "accelerate.commands.launch" not in options:
            options = [
                *("-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"),
                *("--local_addr", self.network.addresses[number], *options),
            ]
        command = [
            *(sys.executable, *options, "--max_restarts", str(self.max_restarts)),
            *(str(ROOT / "experiments" / "run.py"), *self.settings, "--output_dir", "run", *flags),
        ]
        # torchrun reads PET_SHUTDOWN_TIMEOUT as its flag --shutdown_timeout.
        variables = {"HOLD": str(self.folder), "PET_SHUTDOWN_TIMEOUT": "1", **self.network.environment(number)}
        launcher = BackgroundCommand(
            command,
            self.folder if self.folders is None else self.folders[number],
            {**os.environ, **self.environment, **variables},
            self.folder / f"output-{len(self._started)}.txt",
        )
        self._started.append(launcher)
        return launcher

    def wait_for_paused_pids(self) -> list[int]:
        """Wait until both processes pause, and return their ids. Delete the files that report the pause."""
        files = [self.folder / f"held-{rank}" for rank in (0, 1)]
        self.launchers[0].wait_for("both processes to pause", lambda: all(file.exists() for file in files))
        pids = [int(file.read_text()) for file in files]
        for file in files:
            file.unlink()
        return pids

    def let_continue(self, pid: int | None = None) -> None:
        """Let a paused process continue; if no process is given, let all continue, and do not pause again."""
        (self.folder / ("go" if pid is None else f"go-{pid}")).touch()

    def wait(self) -> list[int]:
        """Wait until both launchers end, and return their exit statuses."""
        return [launcher.wait() for launcher in self.launchers]

    def read_outputs(self) -> str:
        """Return the output of all launchers."""
        return "\n".join(launcher.read_output() for launcher in self._started)

    def kill(self) -> None:
        """Kill all launchers and their processes."""
        for launcher in self._started:
            launcher.kill()


def find_free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def kill_each_worker(nodes: Nodes, *, notices: bool) -> str:
    """Kill the process of node 0, and after the restart that of node 1."""
    first_pids = nodes.wait_for_paused_pids()
    os.kill(first_pids[0], signal.SIGKILL)
    # With a static rendezvous, the other launcher does not notice the death, and its process stays paused.
    second_pids = first_pids
    if notices:
        # With c10d, the other launcher notices the death and restarts its process too. A paused process does not end
        # when its launcher asks it to, so let it continue.
        nodes.let_continue(first_pids[1])
        second_pids = nodes.wait_for_paused_pids()
        nodes.let_continue(second_pids[0])
    os.kill(second_pids[1], signal.SIGKILL)
    third_pids = nodes.wait_for_paused_pids()
    assert not set(third_pids) & {*first_pids, *second_pids}
    nodes.let_continue()
    return "restarted"


def kill_launcher_1(nodes: Nodes, *, notices: bool) -> str:
    """Kill the launcher of node 1, whose process then ends the run, and start the launcher again."""
    nodes.wait_for_paused_pids()
    nodes.launchers[1].process.kill()
    nodes.launchers[1].process.wait()
    nodes.let_continue()
    return _rejoin(nodes, notices=notices)


def kill_node_1(nodes: Nodes, *, notices: bool) -> str:
    """Kill the launcher and the process of node 1 at once, and start the launcher again."""
    nodes.wait_for_paused_pids()
    nodes.launchers[1].kill()
    nodes.let_continue()
    return _rejoin(nodes, notices=notices)


def _rejoin(nodes: Nodes, *, notices: bool) -> str:
    """Start the launcher of node 1 again; start both again if they fail."""
    nodes.start_again(1)
    if not notices:
        return "rejoined"
    # torchrun's c10d rendezvous counts the dead launcher as present if the other one starts the next round before the
    # dead one's heartbeat expires. Both launchers then fail after the read timeout.
    statuses = nodes.wait()
    assert 0 not in statuses, f"expected that both launchers fail, got {statuses}"
    nodes.start("--resume", "auto")
    return "both failed, started again"


def kill_launcher_0(nodes: Nodes, *, notices: bool) -> str:
    """Kill the launcher of node 0, to which the other one is connected; start both again with --resume auto."""
    nodes.wait_for_paused_pids()
    nodes.launchers[0].process.kill()
    nodes.launchers[0].process.wait()
    nodes.let_continue()
    assert nodes.launchers[1].wait() != 0, "the other launcher ended without an error"
    while nodes.launchers[0].running_processes():
        time.sleep(0.05)
    nodes.start("--resume", "auto")
    return "both failed, started again"


VICTIMS: dict[str, Callable[..., str]] = {
    "each worker": kill_each_worker,
    "launcher 1": kill_launcher_1,
    "node 1": kill_node_1,
    "launcher 0": kill_launcher_0,
}
"""What to kill, with a function that kills it, ensures that the run goes on, and returns how it went on."""


def kill_and_compare(nodes: Nodes, victim: str, uninterrupted_run: Path, *, notices: bool) -> str:
    """Start a run on two nodes, kill what `victim` names, and return the outcome.

    Args:
        nodes: the run.
        victim: a name in VICTIMS.
        uninterrupted_run: directory of an uninterrupted run with the same settings.
        notices: whether a launcher notices the end of the other node's process, as with c10d.
    """
    try:
        nodes.start()
        recovery = VICTIMS[victim](nodes, notices=notices)
        statuses = nodes.wait()
        assert statuses == [0, 0], f"exit statuses {statuses}\n{nodes.read_outputs()}"
        run = nodes.folder / "run"
        resumed_from = json.loads((run / "result.json").read_text())["resumed_from"]
        assert resumed_from is not None
        differences = ", ".join(find_differences(uninterrupted_run, run))
        return f"{recovery}, resumed from {resumed_from}, {f'differs in {differences}' if differences else 'same bits'}"
    finally:
        nodes.kill()


def networks() -> Iterator[tuple[str, contextlib.AbstractContextManager[Network]]]:
    """Yield the names of all networks, each with a context that creates the network."""
    yield "loopback", contextlib.nullcontext(LOOPBACK)
    yield "namespaces", two_namespaces()


def main() -> None:
    """Print a line for each killed run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="new folder for the runs")
    parser.add_argument("--encoder", required=True, help="directory of a tiny encoder")
    parser.add_argument("--data", required=True, help="folder with a few rows of data")
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=list(VICTIMS), help="what to kill")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    settings = ["--encoder", str(Path(arguments.encoder).resolve()), "--data", str(Path(arguments.data).resolve())]
    environment = {"MIDWAY_CACHE": str(folder / "cache")}
    whole = {}
    for shard, flags in SHARDS.items():
        whole[shard] = folder / shard / "whole"
        whole[shard].parent.mkdir(parents=True)
        run_flags = [*settings, *SETTINGS, *flags, "--output_dir", str(whole[shard])]
        command = BackgroundCommand(
            command_line(run_flags, num_processes=2),
            folder,
            {**os.environ, **environment},
            folder / f"{shard}.txt",
        )
        assert command.wait() == 0, command.read_output()
    for network_name, context in networks():
        try:
            with context as network:
                cases = itertools.product(SHARDS, RENDEZVOUS, arguments.victims)
                for shard, rendezvous, victim in cases:
                    case = folder / f"{network_name}-{shard}-{rendezvous}-{victim.replace(' ', '-')}"
                    case.mkdir()
                    nodes = Nodes(
                        case, [*settings, *SETTINGS, *SHARDS[shard]], environment, RENDEZVOUS[rendezvous], network
                    )
                    started = time.monotonic()
                    try:
                        outcome = kill_and_compare(nodes, victim, whole[shard], notices=rendezvous == "c10d")
                    except AssertionError as error:
                        outcome = f"failed; see {case.name}: {str(error).splitlines()[0]}"
                    seconds = time.monotonic() - started
                    names = f"{network_name:10}  {shard:5}  {rendezvous:6}  killed: {victim:11}"
                    print(f"{names}  {outcome} ({seconds:.0f} s)", flush=True)
        except NamespaceError as error:
            print(f"{network_name:10}  skipped: {error}")


if __name__ == "__main__":
    main()
