"""The accelerator is set up as the settings and the launcher request, or the run is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from accelerate.utils import DistributedType

from research.settings.config import RunConfig
from research.training.accelerator import check_setup_as_requested, choose_precision, create_accelerator
from tests.conftest import ROOT, Launch


def test_choose_precision_uses_the_launchers_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    launch_options: list[str] = []
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: ["accelerate", "launch", *launch_options, "run.py"])
    monkeypatch.setattr(sys, "argv", ["run.py"])
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # accelerate always sets it
    default = choose_precision(RunConfig())
    requested = {"bf16": "no", "no": "bf16"}[default]  # not what this machine would choose
    launch_options += ["--mixed_precision", requested]
    assert choose_precision(RunConfig()) == requested
    assert choose_precision(RunConfig(mixed_precision=default)) == default


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--cpu", "--num_processes", "2"), "2 processes but started 1"),
        (("--use_fsdp",), "requests FSDP"),
        (("--cpu", "--num_processes", "1", "--use_megatron_lm"), "requests Megatron-LM"),
        (("--config_file", str(ROOT / "accelerate_configs" / "multi_gpu.yaml")), "requests GPUs"),
    ],
)
def test_launch_with_options_that_accelerate_ignores_is_refused(
    launch: Launch, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    data = tmp_path / "empty.csv"  # an error too, but one that is found only after the launch options are checked
    data.touch()
    if "multi_gpu" in options[-1] and torch.cuda.is_available():
        pytest.skip("GPUs are available")
    # num_processes=2 means `accelerate launch` with the shipped config for two CPU processes, which `options` override.
    # forks=False, because the check reads the command lines of processes.
    completed = launch(["--data", data], num_processes=2, launcher_options=options, check=False, forks=False)
    assert completed.returncode != 0
    refusals = [line for line in completed.stderr.splitlines() if line.startswith("error: ")]
    assert refusals
    assert all(expected in line for line in refusals)


def test_check_setup_as_requested_refuses_a_setup_that_was_not_requested(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = RunConfig(mixed_precision="no", log_with=[])
    accelerator = create_accelerator(config, str(tmp_path))
    check_setup_as_requested(accelerator, config)
    with pytest.raises(ValueError, match="precision bf16"):
        check_setup_as_requested(accelerator, replace(config, mixed_precision="bf16"))
    monkeypatch.setattr(accelerator.state, "distributed_type", DistributedType.FSDP)
    with pytest.raises(ValueError, match="FSDP"):
        check_setup_as_requested(accelerator, config)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes were launched"):
        check_setup_as_requested(accelerator, config)
