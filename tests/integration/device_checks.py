"""Checks of real runs that hold on every device.

test_gpu.py makes them with all settings that need a GPU. test_device_checks.py makes each of them once on a CPU, so
that mistakes in the checks are found without a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from research.system.safetensors_file import TensorFile
from tests.conftest import ROOT, Launch

SHARD = ("--shard", "fsdp2")
NO_DROPOUT = ("--dropout", "0", "--head", "mean", "--head.dropout", "0")
EDITS = (
    "{at: 2st, unfreeze: encoder}",
    "{at: 3st, replace_head: {name: mean, dropout: 0.0}}",
    "{at: 4st, add_lora: {r: 2, dropout: 0.0}}",
    "{at: 6st, merge_lora: true}",
    "{at: 7st, freeze: encoder.embeddings}",
)
"""A timeline for a run that starts with a frozen encoder."""
JOURNAL = ["freeze", "unfreeze", "replace_head", "add_lora", "merge_lora", "freeze"]
"""The names of the edits of such a run, in order."""
EDITED = ("--freeze", "encoder", *(part for entry in EDITS for part in ("--timeline", entry)), "--max_steps", "9")
OVERFLOW = (
    *("--plugin", str(ROOT / "tests" / "plugins" / "overflow_at_step.py"), "--hook", "overflow_at_step"),
    *("--on_nonfinite", "skip"),
)
"""Makes the gradient of the second step infinite. Without a gradient scaler, only --on_nonfinite lets the run go on."""


@dataclass
class Runs:
    """Starts short runs of the tiny encoder, each in a folder of its own."""

    launch: Launch
    encoder: Path
    data: Path
    folder: Path
    common: list[str] = field(default_factory=lambda: ["--batch_size", "8", "--max_length", "64", "--lr", "0.05"])
    """Flags of all runs. SGD shows rounding as it is, whereas Adam divides it by the size of the gradient."""
    before_start: Callable[[str], None] = lambda name: None
    """Called with the name of each run before it starts."""

    def train(self, name: str, *flags: str, config: str | None = None, num_processes: int = 1) -> dict[str, Any]:
        """Train, check that the run finished, and return its result.

        Args:
            name: name of the run's folder.
            *flags: flags in addition to the common ones.
            config: name of a launch configuration; None starts plain `python`.
            num_processes: number of processes of a launched run.
        """
        arguments = ["--encoder", self.encoder, "--data", self.data, "--optimizer", "sgd", *self.common, *flags]
        arguments += ["--evaluate_every", "null", "--log_every", "1", "--log_with", "[]", "--report", "false"]
        options: list[str] = []
        if config is not None:  # later options of accelerate launch replace earlier ones
            path = ROOT / "accelerate_configs" / f"{config}.yaml"
            options = ["--config_file", str(path), "--num_processes", str(num_processes)]
        output = self.folder / name
        self.before_start(name)
        self.launch(
            [*arguments, "--output_dir", output], num_processes=0 if config is None else 1, launcher_options=options
        )
        result: dict[str, Any] = json.loads((output / "result.json").read_text())
        assert result["status"] == "finished"
        return result

    def weights(self, name: str) -> dict[str, Tensor]:
        """Return the weights of a finished run."""
        return load_file(self.folder / name / "model" / "model.safetensors")

    def journal(self, name: str) -> list[str]:
        """Return the names of the edits that a run applied."""
        return [json.loads(line)["name"] for line in (self.folder / name / "journal.jsonl").read_text().splitlines()]

    def num_skipped(self, name: str) -> int:
        """Return the number of steps that a run skipped."""
        return int(json.loads((self.folder / name / "result.json").read_text())["skipped_steps"])

    def checkpoint(self, name: str, step: int) -> Path:
        """Return the folder of a run's checkpoint."""
        return self.folder / name / "checkpoints" / f"step-{step:08d}"


def largest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Return the largest difference of a weight."""
    assert first.keys() == second.keys()
    return max(float((first[name].float() - second[name].float()).abs().max()) for name in first)


def check_same_result(
    runs: Runs, flags: Sequence[str], first: Sequence[str], second: Sequence[str], tolerance: float
) -> None:
    """Check that a run with edits ends with the same weights, up to a tolerance, with and without some flags.

    Args:
        runs: starts the runs.
        flags: flags of both runs.
        first: flags of the first run only.
        second: flags of the second run only.
        tolerance: largest accepted difference of a weight.
    """
    for name, own in (("first", first), ("second", second)):
        runs.train(name, *NO_DROPOUT, *EDITED, *flags, *own)
        assert runs.journal(name) == JOURNAL
    assert largest_difference(runs.weights("first"), runs.weights("second")) <= tolerance


def check_skips_overflow(runs: Runs, flags: Sequence[str], tolerance: float) -> None:
    """Check that a step with an infinite gradient is skipped and counted, in the same way with --shard.

    Args:
        runs: starts the runs.
        flags: flags of both runs.
        tolerance: largest accepted difference of a weight.
    """
    check_same_result(runs, [*flags, *OVERFLOW], (), SHARD, tolerance)
    skipped = [runs.num_skipped(name) for name in ("first", "second")]
    assert skipped[0] == skipped[1] >= 1


def check_exact_resume(runs: Runs, flags: Sequence[str], *, on_gpu: bool) -> None:
    """Check that a run with dropout that continues from a checkpoint ends with the same bits.

    Args:
        runs: starts the runs.
        flags: flags of all runs.
        on_gpu: whether the runs use a GPU, whose random state must then be in the checkpoint.
    """
    flags = ["--deterministic", "--dropout", "0.2", "--max_steps", "6", "--save_every", "3st", "--keep", "9", *flags]
    whole = runs.train("whole", *flags)
    checkpoint = runs.checkpoint("whole", 3)
    with TensorFile(checkpoint / "process-0.safetensors") as file:
        assert ("state/random/cuda" in file.names()) == on_gpu
    resumed = runs.train("resumed", *flags, "--resume", str(checkpoint))
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert not is_equal_up_to(checkpoint / "model.safetensors", runs.checkpoint("whole", 6) / "model.safetensors")


def is_equal_up_to(first: Path, second: Path, tolerance: float = 0.0) -> bool:
    """Return whether two files have the same tensors, up to a tolerance."""
    with TensorFile(first) as one, TensorFile(second) as other:
        pairs = [(one.read(name), other.read(name)) for name in sorted(one.names() | other.names())]
    return all(torch.allclose(left, right, rtol=0, atol=tolerance) for left, right in pairs)


def check_moves(
    runs: Runs, flags: Sequence[str], before: Sequence[str], after: Sequence[str], tolerance: float
) -> None:
    """Check that a run can continue with other flags, or on another device, with the same result up to a tolerance.

    Args:
        runs: starts the runs.
        flags: flags of all runs.
        before: flags of the run that writes the checkpoint, and continues without interruption.
        after: flags of the run that continues.
        tolerance: largest accepted difference of a weight.
    """
    flags = [*NO_DROPOUT, *EDITED, "--save_every", "5st", "--keep", "9", "--mixed_precision", "no", *flags]
    runs.train("whole", *flags, *before)
    runs.train("moved", *flags, *after, "--resume", str(runs.checkpoint("whole", 5)))
    assert runs.journal("moved") == JOURNAL
    assert largest_difference(runs.weights("whole"), runs.weights("moved")) <= tolerance


def check_launched(runs: Runs, config: str, num_processes: int, flags: Sequence[str], tolerance: float) -> None:
    """Check that processes that accelerate launches have the result of plain `python`, up to a tolerance.

    Args:
        runs: starts the runs.
        config: name of a launch configuration.
        num_processes: number of processes.
        flags: flags of the launched run.
        tolerance: largest accepted difference of a weight.
    """
    flags = [*NO_DROPOUT, *EDITED, "--mixed_precision", "no", *flags]
    alone = [flag for flag in flags if flag not in SHARD]
    runs.train("alone", *alone)
    runs.train("launched", *flags, config=config, num_processes=num_processes)
    assert runs.journal("launched") == JOURNAL
    assert largest_difference(runs.weights("alone"), runs.weights("launched")) <= tolerance
