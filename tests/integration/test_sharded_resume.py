"""A checkpoint of a split model continues with the same bits, and on any number of processes, split or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import Launch

pytestmark = pytest.mark.sharding
FLAGS = [
    *("--batch_size", "8", "--max_length", "32", "--max_steps", "9", "--save_every", "1st", "--keep", "9"),
    *("--evaluate_every", "2st", "--mixed_precision", "no", "--dropout", "0", "--hook", "ema", "--report", "false"),
    *("--head", "mean", "--head.dropout", "0", "--layer_decay", "1", "--num_threads", "1"),
    *("--timeline", "{at: 0%, freeze: encoder}", "--timeline", "{at: 1st, unfreeze: 'encoder.layer[1]'}"),
    *("--timeline", "{at: 2st, replace_head: {name: attention, dropout: 0.0}}"),
    *("--timeline", "{at: 3st, unfreeze: encoder, add_lora: {r: 2}}", "--timeline", "{at: 6st, merge_adapters: true}"),
    *("--timeline", "{at: 7st, drop_layers: 'encoder.layer[0]'}"),
]
STEP = 4
"""The step after which the run is continued, between the edits."""
Continue = Callable[[str, int, list[str]], Path]


@pytest.fixture(scope="module")
def flags(tiny_encoder: Path, tiny_reviews: Path) -> list[str]:
    return [*FLAGS, "--encoder", str(tiny_encoder), "--data", str(tiny_reviews)]


@pytest.fixture(scope="module")
def whole_run(launch: Launch, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an uninterrupted run with --shard on two processes."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    launch([*flags, "--shard", "fsdp2", "--output_dir", directory], num_processes=2)
    return directory


@pytest.fixture
def continue_run(launch: Launch, flags: list[str], whole_run: Path, tmp_path: Path) -> Continue:
    """A function that continues the run after STEP, and returns its directory."""

    def run(name: str, num_processes: int, extra_flags: list[str]) -> Path:
        directory = tmp_path / name
        shutil.copytree(whole_run, directory)
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


def test_continued_split_run_ends_with_the_same_bits(continue_run: Continue, whole_run: Path) -> None:
    continued = continue_run("same", 2, ["--shard", "fsdp2"])
    results = [json.loads((directory / "result.json").read_text()) for directory in (whole_run, continued)]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[1]["resumed_from"] == f"step-{STEP:08d}"


@pytest.mark.parametrize(
    ("num_processes", "flags_of_launch"),
    [
        (0, []),
        pytest.param(0, ["--shard", "fsdp2"], marks=pytest.mark.slow),
        pytest.param(2, [], marks=pytest.mark.slow),
        pytest.param(2, ["--shard", "fsdp2", "--shard_group_size", "1"], marks=pytest.mark.slow),
        pytest.param(3, ["--shard", "fsdp2"], marks=pytest.mark.slow),
        pytest.param(3, [], marks=pytest.mark.slow),
    ],
)
def test_split_run_continues_on_other_processes_with_and_without_splitting(
    continue_run: Continue, whole_run: Path, num_processes: int, flags_of_launch: list[str]
) -> None:
    continued = weights_of(continue_run("other", num_processes, flags_of_launch))
    expected = weights_of(whole_run)
    assert continued.keys() == expected.keys()
    for name, weight in expected.items():
        # The gradient of key biases is 0, so Adam enlarges its rounding errors.
        if not name.endswith("key.bias"):
            assert (continued[name] - weight).abs().max() < 1e-6, name
