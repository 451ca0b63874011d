"""A checkpoint of a split model continues with the same bits, and on any number of processes, split or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from research import EncoderWithHead
from research.system.indexed_tensors import open_tensors
from research.system.manifest import find_damage
from tests.conftest import Launch

pytestmark = pytest.mark.sharding
FLAGS = [
    *("--batch_size", "8", "--max_length", "32", "--max_steps", "9", "--save_every", "1st", "--keep", "9"),
    *("--evaluate_every", "2st", "--mixed_precision", "no", "--dropout", "0", "--hook", "ema", "--report", "false"),
    *("--head", "mean", "--head.dropout", "0", "--layer_decay", "1", "--num_threads", "1"),
]
TIMELINE = [
    *("--timeline", "{at: 0%, freeze: encoder}", "--timeline", "{at: 1st, unfreeze: 'encoder.layer[1]'}"),
    *("--timeline", "{at: 2st, replace_head: {name: attention, dropout: 0.0}}"),
    *("--timeline", "{at: 3st, unfreeze: encoder, add_lora: {r: 2}}", "--timeline", "{at: 6st, merge_adapters: true}"),
    *("--timeline", "{at: 7st, drop_layers: 'encoder.layer[0]'}"),
]
STEP = 4
"""The step after which the run is continued, between the edits."""
BY_PROCESS = ["--shard", "fsdp2", "--shard_checkpoints", "true", "--save_in_background", "true"]
"""Flags of runs whose checkpoints have one file per process, and are written in the background."""
Continue = Callable[[Path, int, list[str]], Path]


@pytest.fixture(scope="module")
def flags(tiny_encoder: Path, tiny_reviews: Path) -> list[str]:
    return [*FLAGS, *TIMELINE, "--encoder", str(tiny_encoder), "--data", str(tiny_reviews)]


@pytest.fixture(scope="module")
def whole_run(launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run with --shard on two processes."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    launch([*flags, "--shard", "fsdp2", "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture(scope="module")
def run_by_process(launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the same run with BY_PROCESS."""
    directory = tmp_path_factory.mktemp("by_process") / "run"
    launch([*flags, *BY_PROCESS, "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture
def continue_run(launch: Launch, flags: list[str], tmp_path: Path) -> Continue:
    """A function that continues a copy of a run after STEP, and returns its directory."""

    def run(source: Path, num_processes: int, extra_flags: list[str]) -> Path:
        directory = shutil.copytree(source, tmp_path / "run")
        (directory / "result.json").unlink()
        for checkpoint in (directory / "checkpoints").iterdir():
            if int(checkpoint.name.removeprefix("step-")) > STEP:
                shutil.rmtree(checkpoint)
        options = [*flags, *extra_flags, "--output_dir", directory, "--resume", "auto"]
        launch(options, num_processes=num_processes)
        return directory

    return run


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a finished run."""
    return load_file(directory / "model" / "model.safetensors")


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint that are in one file, or in one file per process."""
    with open_tensors(path) as file:
        return {name: file.read(name) for name in file.names()}


def test_files_of_processes_contain_the_same_as_gathered_files(whole_run: Path, run_by_process: Path) -> None:
    checkpoints = [path.name for path in (whole_run / "checkpoints").iterdir()]
    assert len(checkpoints) == 9
    for checkpoint in checkpoints:
        whole, by_process = (run / "checkpoints" / checkpoint for run in (whole_run, run_by_process))
        assert find_damage(by_process) is None
        for name in ("model", "optimizer", "hooks"):
            assert not (by_process / f"{name}.safetensors").exists()
            expected, found = (tensors_of(folder / f"{name}.safetensors") for folder in (whole, by_process))
            assert found.keys() == expected.keys()
            for tensor in expected:
                assert found[tensor].dtype == expected[tensor].dtype
                assert torch.equal(found[tensor], expected[tensor]), (checkpoint, tensor)
        index = json.loads((by_process / "model.parts.json").read_text())
        assert index["encoder.embeddings.word_embeddings.weight"]["rows"] == {
            "model-0.safetensors": [0, 10],
            "model-1.safetensors": [10, 19],
        }
        for name in ("optimizer.json", "process-0.json", "process-1.safetensors"):
            assert (by_process / name).read_bytes() == (whole / name).read_bytes(), (checkpoint, name)


@pytest.mark.parametrize(
    ("source", "launch_flags"), [("whole_run", ["--shard", "fsdp2"]), ("run_by_process", BY_PROCESS)]
)
def test_continued_split_run_ends_with_the_same_bits(
    continue_run: Continue, whole_run: Path, request: pytest.FixtureRequest, source: str, launch_flags: list[str]
) -> None:
    continued = continue_run(request.getfixturevalue(source), 2, launch_flags)
    results = [json.loads((directory / "result.json").read_text()) for directory in (whole_run, continued)]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    assert results[0]["metrics"] == results[1]["metrics"]
    num_parameters = EncoderWithHead.from_pretrained(whole_run / "model").num_parameters()
    assert [result["total_parameters"] for result in results] == [num_parameters] * 2
    assert results[1]["resumed_from"] == f"step-{STEP:08d}"
    saved = [directory / "model" / "model.safetensors" for directory in (whole_run, continued)]
    assert saved[0].read_bytes() == saved[1].read_bytes()


@pytest.mark.parametrize(
    ("source", "num_processes", "launch_flags"),
    [
        ("run_by_process", 0, []),
        pytest.param("run_by_process", 0, ["--shard", "fsdp2"], marks=pytest.mark.slow),
        pytest.param("run_by_process", 3, BY_PROCESS, marks=pytest.mark.slow),
        pytest.param("run_by_process", 2, [*BY_PROCESS, "--shard_group_size", "1"], marks=pytest.mark.slow),
        pytest.param("whole_run", 0, [], marks=pytest.mark.slow),
        pytest.param("whole_run", 2, [], marks=pytest.mark.slow),
        pytest.param("whole_run", 2, ["--shard", "fsdp2", "--shard_group_size", "1"], marks=pytest.mark.slow),
        pytest.param("whole_run", 3, ["--shard", "fsdp2"], marks=pytest.mark.slow),
        pytest.param("whole_run", 3, [], marks=pytest.mark.slow),
    ],
)
def test_split_run_continues_on_other_processes_with_and_without_splitting(
    continue_run: Continue,
    whole_run: Path,
    request: pytest.FixtureRequest,
    source: str,
    num_processes: int,
    launch_flags: list[str],
) -> None:
    continued = weights_of(continue_run(request.getfixturevalue(source), num_processes, launch_flags))
    expected = weights_of(whole_run)
    assert continued.keys() == expected.keys()
    for name, weight in expected.items():
        # The gradient of key biases is 0, so Adam enlarges its rounding errors.
        if not name.endswith("key.bias"):
            assert (continued[name] - weight).abs().max() < 1e-6, name


def test_fork_and_init_from_read_files_of_processes(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, whole_run: Path, run_by_process: Path, tmp_path: Path
) -> None:
    metrics = []
    for source in (whole_run, run_by_process):
        fork, initialised = (tmp_path / source.parent.name / name for name in ("fork", "initialised"))
        launch(
            ["--fork", f"{source}@step-{STEP}", "--shard", "null", "--shard_checkpoints", "false", "--output_dir", fork]
        )
        first = source / "checkpoints" / "step-00000001"
        data = ["--encoder", tiny_encoder, "--data", tiny_reviews]
        launch([*FLAGS, *data, "--init_from", first, "--output_dir", initialised])
        metrics.append([json.loads((run / "result.json").read_text())["metrics"] for run in (fork, initialised)])
    assert metrics[0] == metrics[1]
    assert metrics[0][0] != metrics[0][1]
