"""Runs under two launchers with one process each, as on two machines, resume if a process, launcher or node dies.

They end with the bits of an uninterrupted run.

Guards against https://github.com/pytorch/pytorch/issues/108158: each launcher counts only its own failures, so the
processes of a restarted run cannot tell from the launchers' counts which restart they belong to.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT, Launch
from tests.scripts.kills import find_differences
from tests.scripts.network import NamespaceError, Network, two_namespaces
from tests.scripts.node_kills import RENDEZVOUS, SHARDS, VICTIMS, Nodes, kill_and_compare

CreateNodes = Callable[..., Nodes]
QUICK = {
    ("DDP", "static", "each worker"),
    ("DDP", "c10d", "each worker"),
    ("FSDP2", "static", "each worker"),
    ("FSDP2", "static", "launcher 1"),
}
"""Kills on the loopback interface that `make test` tests; it tests one kill between network namespaces."""


def cases(quick: set[tuple[str, str, str]]) -> list[object]:
    """Return all kills as parameters of a test; those that are not quick are marked as slow."""
    return [
        pytest.param(*case, marks=[] if case in quick else pytest.mark.slow, id="-".join(case).replace(" ", "_"))
        for case in itertools.product(SHARDS, RENDEZVOUS, VICTIMS)
    ]


@pytest.fixture(scope="module")
def flags(pausable_run_flags: list[str]) -> list[str]:
    return [*pausable_run_flags, "--max_steps", "5", "--save_every", "2st"]


@pytest.fixture(scope="module")
def uninterrupted_run(
    launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A function that returns the directory of an uninterrupted run of two processes, given a name in SHARDS."""

    @functools.cache
    def run(shard: str) -> Path:
        directory = tmp_path_factory.mktemp("uninterrupted") / "run"
        launch([*flags, *SHARDS[shard], "--output_dir", directory], num_processes=2)
        return directory

    return run


@pytest.fixture
def create_nodes(user_environment: dict[str, str], tmp_path: Path) -> Iterator[CreateNodes]:
    """A function that returns a run on two nodes, given the run's flags. Its options are those of `Nodes`."""
    created: list[Nodes] = []

    def create(settings: Sequence[str], rendezvous: Sequence[str] = RENDEZVOUS["static"], **options: object) -> Nodes:
        created.append(Nodes(tmp_path, settings, user_environment, rendezvous, **options))  # type: ignore[arg-type]
        return created[-1]

    yield create
    for nodes in created:
        nodes.kill()


@pytest.fixture(scope="module")
def namespaces() -> Iterator[Network]:
    """Two network namespaces. Skips the test if they cannot be created."""
    try:
        with two_namespaces() as network:
            yield network
    except NamespaceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("shard", "rendezvous", "victim"), cases(QUICK))
def test_killed_run_resumes_with_the_same_bits(
    create_nodes: CreateNodes,
    flags: list[str],
    uninterrupted_run: Callable[[str], Path],
    shard: str,
    rendezvous: str,
    victim: str,
) -> None:
    nodes = create_nodes([*flags, *SHARDS[shard]], RENDEZVOUS[rendezvous])
    outcome = kill_and_compare(nodes, victim, uninterrupted_run(shard), notices=rendezvous == "c10d")
    assert outcome.endswith("same bits"), outcome


@pytest.mark.parametrize(("shard", "rendezvous", "victim"), cases({("FSDP2", "c10d", "each worker")}))
def test_killed_run_between_network_namespaces_resumes_with_the_same_bits(
    create_nodes: CreateNodes,
    namespaces: Network,
    flags: list[str],
    uninterrupted_run: Callable[[str], Path],
    shard: str,
    rendezvous: str,
    victim: str,
) -> None:
    nodes = create_nodes([*flags, *SHARDS[shard]], RENDEZVOUS[rendezvous], network=namespaces)
    outcome = kill_and_compare(nodes, victim, uninterrupted_run(shard), notices=rendezvous == "c10d")
    assert outcome.endswith("same bits"), outcome


def test_nodes_started_with_multi_node_yaml_resume_with_the_same_bits(
    create_nodes: CreateNodes, flags: list[str], uninterrupted_run: Callable[[str], Path], tmp_path: Path
) -> None:
    config = tmp_path / "multi_node.yaml"
    # accelerate has no flag that starts several processes on CPUs.
    config.write_text((ROOT / "accelerate_configs" / "multi_node.yaml").read_text() + "\nuse_cpu: true\n")
    command = [
        *("-m", "accelerate.commands.launch", "--config_file", str(config), "--num_processes", "2"),
        *("--machine_rank", "{number}", "--main_process_ip", "{address}", "--main_process_port", "{port}"),
    ]
    nodes = create_nodes(flags, command)
    outcome = kill_and_compare(nodes, "each worker", uninterrupted_run("DDP"), notices=False)
    assert outcome.endswith("same bits"), outcome


def test_both_launchers_end_without_restarts_and_the_run_is_resumed_by_hand(
    create_nodes: CreateNodes, flags: list[str], uninterrupted_run: Callable[[str], Path], tmp_path: Path
) -> None:
    nodes = create_nodes(flags, max_restarts=0)
    nodes.start()
    pids = nodes.wait_for_paused_pids()
    os.kill(pids[1], signal.SIGKILL)
    nodes.let_continue()
    assert nodes.wait() == [1, 1]
    nodes.start("--resume", "auto")
    assert nodes.wait() == [0, 0], nodes.read_outputs()
    assert not list(find_differences(uninterrupted_run("DDP"), tmp_path / "run"))
