"""Two nodes with their own working directories and a relative run directory, as on machines without a shared disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scripts.node_kills import RENDEZVOUS, Nodes

CreateNodes = Callable[..., Nodes]
SAVING = ["--save_every", "2st"]


@pytest.fixture
def create_nodes(
    user_environment: dict[str, str], pausable_run_flags: list[str], tmp_path: Path
) -> Iterator[CreateNodes]:
    """A function that returns a run on two nodes with their own working directories, given flags of the run."""
    created: list[Nodes] = []
    folders = tmp_path / "node-0", tmp_path / "node-1"

    def create(*flags: str) -> Nodes:
        for folder in folders:
            folder.mkdir(exist_ok=True)
        plugin = str(ROOT / "tests" / "plugins" / "wait_briefly_for_files.py")
        settings = [*pausable_run_flags, "--plugin", plugin, "--max_steps", "5", *flags]
        created.append(
            Nodes(tmp_path, settings, user_environment, RENDEZVOUS["static"], folders=folders, max_restarts=0)
        )
        return created[-1]

    yield create
    for nodes in created:
        nodes.kill()


def find_lines(nodes: Nodes, start: str) -> list[str]:
    """Return the lines of the current launchers' outputs that start with these words."""
    outputs = [launcher.read_output() for launcher in nodes.launchers]
    return [line for output in outputs for line in output.splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(SAVING, marks=pytest.mark.slow, id="save_every"),
        pytest.param(["--shard", "fsdp2", *SAVING], id="shard"),
        pytest.param(["--best_metric", "loss"], id="best_metric"),
    ],
)
def test_run_that_shares_files_is_refused_before_training(
    create_nodes: CreateNodes, tmp_path: Path, flags: list[str]
) -> None:
    nodes = create_nodes(*flags)
    nodes.let_continue()
    nodes.start()
    assert nodes.wait() == [1, 1]
    (line,) = find_lines(nodes, "error: Expected every process to see the run directory run")
    assert flags[-2] in line
    assert "process 1." in line
    assert [list((tmp_path / name).iterdir()) for name in ("node-0", "node-1")] == [[], []]


def test_run_that_shares_no_files_is_allowed_with_a_message(create_nodes: CreateNodes, tmp_path: Path) -> None:
    nodes = create_nodes()
    nodes.let_continue()
    nodes.start()
    assert nodes.wait() == [0, 0], nodes.read_outputs()
    assert len(find_lines(nodes, "Warning: The run directory run of process 0 is not visible to process 1")) == 1
    assert json.loads((tmp_path / "node-0" / "run" / "result.json").read_text())["status"] == "finished"
    assert not list((tmp_path / "node-1").iterdir())
    # Only process 0 sees that the run is finished.
    nodes.start("--resume", "auto")
    assert nodes.wait() == [0, 0], nodes.read_outputs()
    assert find_lines(nodes, "The run in run is finished")


def test_signal_ends_a_run_that_shares_no_files_with_one_line(create_nodes: CreateNodes, tmp_path: Path) -> None:
    nodes = create_nodes()
    nodes.start()
    nodes.wait_for_paused_pids()
    nodes.launchers[0].process.terminate()
    nodes.let_continue()
    assert 0 not in nodes.wait()
    assert len(find_lines(nodes, "Warning: The run directory run of process 0 is not visible to process 1")) == 1
    assert len(find_lines(nodes, "error: Cannot write run/checkpoints/step-00000003")) == 1, nodes.read_outputs()
    assert not list((tmp_path / "node-0" / "run").glob("checkpoints/*"))


@pytest.mark.parametrize("is_copied", [False, True])
def test_resumed_run_is_refused_on_every_process_if_only_one_sees_its_directory(
    create_nodes: CreateNodes, tmp_path: Path, *, is_copied: bool
) -> None:
    first, second = tmp_path / "node-0", tmp_path / "node-1"
    first.mkdir()
    second.symlink_to(first)
    nodes = create_nodes(*SAVING)
    nodes.let_continue()
    nodes.start()
    assert nodes.wait() == [0, 0], nodes.read_outputs()
    result = first / "run" / "result.json"
    result.unlink()
    second.unlink()
    second.mkdir()
    if is_copied:
        shutil.copytree(first / "run", second / "run")
    nodes = create_nodes(*SAVING)
    nodes.start("--resume", "auto")
    assert nodes.wait() == [1, 1]
    missing = "run directory run" if is_copied else "checkpoint run/checkpoints/step-00000005"
    start = f"error: Expected every process to see the {missing}" if is_copied else f"error: Expected the {missing}"
    assert len(find_lines(nodes, start)) == 1, nodes.read_outputs()
    assert not result.exists()
    assert len(list((first / "run" / "checkpoints").iterdir())) == 2  # nothing was deleted
