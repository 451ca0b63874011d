"""Neither the number of processes nor the size of micro-batches changes the gradient of a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, Launch

PLUGIN = ROOT / "tests" / "plugins" / "record_gradients.py"
BATCH_SIZE = 12  # 47 training rows: three full batches and a short last one of 11, an odd number for two processes


def gradients(
    launch: Launch,
    encoder: Path,
    reviews: Path,
    folder: Path,
    *,
    num_processes: int,
    num_micro_batches: int,
    wrong: bool = False,
) -> dict[str, dict[str, torch.Tensor]]:
    """Train for an epoch, and return the gradients of the first and last step of every process."""
    launch(
        [
            *(
                "--encoder",
                encoder,
                "--data",
                reviews,
                "--head",
                "lstm",
                "--head.lstm_size",
                "8",
                "--head.dropout",
                "0",
            ),
            *("--optimizer", "sgd", "--lr", "0.1", "--max_grad_norm", "0", "--dropout", "0", "--mixed_precision", "no"),
            *("--batch_size", BATCH_SIZE, "--micro_batch_size", BATCH_SIZE // num_processes // num_micro_batches),
            *("--plugin", PLUGIN, "--hook", "record_gradients", "--hook.record_gradients.folder", folder),
            *("--hook.record_gradients.divide_by_processes_again", str(wrong).lower()),
            *("--output_dir", folder.with_name(f"{folder.name}-run"), "--max_length", "64", "--report", "false"),
        ],
        num_processes=num_processes,
    )
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) == 2 * num_processes
    return {file.stem: load_file(file) for file in files}


def disagreements(expected: dict[str, dict[str, torch.Tensor]], found: dict[str, dict[str, torch.Tensor]]) -> list[str]:
    """Return the tensors that differ by more than 1e-5 of their norm, or for key biases (true gradient 0), by 1e-7."""
    differing = []
    for step, tensors in found.items():
        reference = expected[f"{step.rsplit('-', 1)[0]}-0"]
        assert tensors.keys() == reference.keys()
        for name, tensor in tensors.items():
            bound = 1e-7 if name.endswith("key.bias") else 1e-5 * reference[name].norm().item()
            if (tensor - reference[name]).norm().item() > bound:
                differing.append(f"{step} {name}")
    return differing


@pytest.fixture(scope="module")
def reference(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("reference") / "gradients"
    return gradients(launch, tiny_encoder, tiny_reviews, folder, num_processes=1, num_micro_batches=1)


@pytest.mark.parametrize(("num_processes", "num_micro_batches"), [(1, 3), (2, 1), (2, 3)])
def test_gradients_do_not_depend_on_the_launch(
    launch: Launch,
    tiny_encoder: Path,
    tiny_reviews: Path,
    tmp_path: Path,
    reference: dict[str, dict[str, torch.Tensor]],
    num_processes: int,
    num_micro_batches: int,
) -> None:
    found = gradients(
        launch,
        tiny_encoder,
        tiny_reviews,
        tmp_path / "gradients",
        num_processes=num_processes,
        num_micro_batches=num_micro_batches,
    )
    assert disagreements(reference, found) == []


def test_disagreements_detect_gradients_divided_twice(
    launch: Launch,
    tiny_encoder: Path,
    tiny_reviews: Path,
    tmp_path: Path,
    reference: dict[str, dict[str, torch.Tensor]],
) -> None:
    found = gradients(
        launch, tiny_encoder, tiny_reviews, tmp_path / "gradients", num_processes=2, num_micro_batches=1, wrong=True
    )
    wrong = disagreements(reference, found)
    assert len(wrong) > 0.9 * sum(len(tensors) for tensors in found.values())
