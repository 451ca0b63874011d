"""Neither the number of processes nor the size of micro-batches changes the gradient of a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, Launch

PLUGIN = ROOT / "tests" / "plugins" / "record_gradients.py"
BATCH_SIZE = 12  # 47 training rows: three full batches and a short last one of 11, an odd number for two processes


def record_gradients(
    launch: Launch,
    encoder: Path,
    reviews: Path,
    folder: Path,
    *,
    num_processes: int,
    num_micro_batches: int,
    divide_twice: bool = False,
) -> dict[str, dict[str, torch.Tensor]]:
    """Train for an epoch, and return the gradients of the first and the last step on every process.

    Args:
        launch: the fixture `launch`.
        encoder: folder of the encoder.
        reviews: folder of the data.
        folder: folder for the gradients.
        num_processes: number of processes.
        num_micro_batches: micro-batches of each process per step.
        divide_twice: whether to divide the gradients by the number of processes twice, which is a mistake.
    """
    launch(
        [
            *("--encoder", encoder, "--data", reviews),
            *("--head", "lstm", "--head.lstm_size", "8", "--head.dropout", "0"),
            *("--optimizer", "sgd", "--lr", "0.1", "--max_grad_norm", "0", "--dropout", "0", "--mixed_precision", "no"),
            *("--batch_size", BATCH_SIZE, "--micro_batch_size", BATCH_SIZE // num_processes // num_micro_batches),
            *("--plugin", PLUGIN, "--hook", "record_gradients", "--hook.record_gradients.folder", folder),
            *("--hook.record_gradients.divide_by_processes_again", str(divide_twice).lower()),
            *("--output_dir", folder.with_name(f"{folder.name}-run"), "--max_length", "64", "--report", "false"),
        ],
        num_processes=num_processes,
    )
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) == 2 * num_processes
    return {file.stem: load_file(file) for file in files}


def find_differences(
    expected: dict[str, dict[str, torch.Tensor]], gradients: dict[str, dict[str, torch.Tensor]]
) -> list[str]:
    """Return the names of gradients that differ from the expected ones.

    The tolerance is 1e-5 of the norm, or 1e-7 for key biases, whose true gradient is 0.
    """
    differing = []
    for file_name, tensors in gradients.items():
        # Every process must have the gradients of the expected run's only process.
        reference = expected[f"{file_name.rsplit('-', 1)[0]}-0"]
        assert tensors.keys() == reference.keys()
        for name, tensor in tensors.items():
            tolerance = 1e-7 if name.endswith("key.bias") else 1e-5 * reference[name].norm().item()
            if (tensor - reference[name]).norm().item() > tolerance:
                differing.append(f"{file_name} {name}")
    return differing


@pytest.fixture(scope="module")
def reference(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, torch.Tensor]]:
    """The gradients of a run of one process with one micro-batch per step."""
    folder = tmp_path_factory.mktemp("reference") / "gradients"
    return record_gradients(launch, tiny_encoder, tiny_reviews, folder, num_processes=1, num_micro_batches=1)


@pytest.mark.parametrize(("num_processes", "num_micro_batches"), [(1, 3), (2, 1), (2, 3)])
def test_gradients_do_not_depend_on_the_numbers_of_processes_and_micro_batches(
    launch: Launch,
    tiny_encoder: Path,
    tiny_reviews: Path,
    tmp_path: Path,
    reference: dict[str, dict[str, torch.Tensor]],
    num_processes: int,
    num_micro_batches: int,
) -> None:
    gradients = record_gradients(
        launch,
        tiny_encoder,
        tiny_reviews,
        tmp_path / "gradients",
        num_processes=num_processes,
        num_micro_batches=num_micro_batches,
    )
    assert find_differences(reference, gradients) == []


def test_find_differences_detects_gradients_divided_twice(
    launch: Launch,
    tiny_encoder: Path,
    tiny_reviews: Path,
    tmp_path: Path,
    reference: dict[str, dict[str, torch.Tensor]],
) -> None:
    gradients = record_gradients(
        launch,
        tiny_encoder,
        tiny_reviews,
        tmp_path / "gradients",
        num_processes=2,
        num_micro_batches=1,
        divide_twice=True,
    )
    differing = find_differences(reference, gradients)
    # Not all: the gradients of key biases are nearly 0 in both runs.
    assert len(differing) > 0.9 * sum(len(tensors) for tensors in gradients.values())
